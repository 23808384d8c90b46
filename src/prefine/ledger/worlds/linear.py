"""Responses as vectors of features, and people whose taste is a direction among them.

The truth: features are N(0, 1), the reward of a response is its product with `taste`, and a pair is
judged by Bradley-Terry, after which each rater turns a known share of the labels around. A policy
is a direction too: its log-ratio to the reference is linear in the features, so it can be wrong in
what it learns but not in what it can say.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from prefine.ledger.descend import descend
from prefine.scores import Scores


@dataclass(frozen=True)
class Judged:
    """Pairs as people labelled them.

    Attributes:
        features: [B, 2, D], the response that got the label first.
        wrong: [B] whether the label was turned around.
        rater: [B] who judged.
    """

    features: Tensor
    wrong: Tensor
    rater: Tensor

    def __len__(self) -> int:
        return len(self.features)


@dataclass(frozen=True)
class Linear:
    """A taste.

    Attributes:
        taste: [D] the direction that people like, in log-odds per unit.

    Example:
        >>> world = Linear(torch.tensor([2.0, 0.0], dtype=torch.float64))
        >>> world.gold(torch.tensor([[1.0, 5.0]], dtype=torch.float64))
        tensor([2.], dtype=torch.float64)
    """

    taste: Tensor

    @classmethod
    def drawn(cls, seed: int, size: int = 20, strength: float = 2.0) -> "Linear":
        """Draw a taste of a given length among so many features."""
        direction = torch.randn(
            size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
        )
        return cls(strength * direction / direction.norm())

    def responses(self, count: int, generator: torch.Generator, k: int = 2) -> Tensor:
        """Return [count, k, D] features of responses to as many prompts."""
        return torch.randn(count, k, len(self.taste), generator=generator, dtype=torch.float64)

    def gold(self, features: Tensor) -> Tensor:
        """Return the rewards [...] of features [..., D]."""
        return features @ self.taste

    def judged(
        self, features: Tensor, generator: torch.Generator, flips: tuple[float, ...] = (0.0,)
    ) -> Judged:
        """Have each pair [B, 2, D] judged by one of several raters.

        Args:
            features: The pairs.
            generator: Of raters, labels and slips.
            flips: Share of labels that each rater turns around.
        """
        count = len(features)
        rater = torch.randint(len(flips), (count,), generator=generator)
        chance, slip = torch.rand(2, count, generator=generator, dtype=features.dtype)
        first = chance < torch.sigmoid(self.gold(features).diff(dim=1).squeeze(1).neg())
        wrong = slip < torch.tensor(flips, dtype=features.dtype)[rater]
        kept = torch.where((first ^ wrong)[:, None, None], features, features.flip(1))
        return Judged(kept, wrong, rater)

    def accuracy(self, weights: Tensor, features: Tensor) -> float:
        """Return the share of pairs [B, 2, D] that weights order as the taste does."""
        gap, true = (features @ weights).diff(dim=1), self.gold(features).diff(dim=1)
        return float((gap * true > 0).double().mean())

    def fit(self, loss: Callable[[Scores], Tensor], pairs: Judged, **how: Any) -> Tensor:
        """Return the [D] weights that a loss finds from pairs; options as in `descend`."""

        def scores(weights: Tensor, rows: Tensor) -> Scores:
            policy = pairs.features[rows] @ weights
            return Scores(
                policy, torch.ones_like(policy), reference=torch.zeros_like(policy),
                columns={"rater": pairs.rater[rows]},
            )  # fmt: skip

        return descend(loss, scores, torch.zeros_like(self.taste), len(pairs), **how)
