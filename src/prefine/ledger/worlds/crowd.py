"""Prompts with a crowd of responses that share features, so that moving one response moves others.

The truth: a policy is the reference tilted by one direction among the features, with the sum over
the crowd written out, so the probability of every response is exact. What is learnt of one pair
thus reaches every response of every prompt, as it does in a network: a response may lose although
it won its pair, because a third has more of what it won by. Rewards are the features' products with
a `taste`, and comparisons are those of `Tabular`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from prefine.ledger.descend import descend
from prefine.ledger.worlds.tabular import Rows, Tabular
from prefine.scores import Scores


@dataclass(frozen=True)
class Crowd:
    """Responses with features, and the table that they come to.

    Attributes:
        table: Rewards, reference and lengths.
        features: [X, N, D] of N responses to each of X prompts.
        taste: [D] whose products with the features are the rewards.

    Example:
        >>> world = Crowd.drawn(0, prompts=2, responses=5, size=3)
        >>> world.policy(torch.zeros(3, dtype=torch.float64)).allclose(world.table.reference)
        True
    """

    table: Tabular
    features: Tensor
    taste: Tensor

    @classmethod
    def drawn(
        cls,
        seed: int,
        *,
        prompts: int = 40,
        responses: int = 32,
        size: int = 12,
        strength: float = 2.0,
        tilt: float = 1.0,
    ) -> "Crowd":
        """Draw features N(0, 1), a taste of a given strength, a reference, lengths of 5 to 40."""
        generator = torch.Generator().manual_seed(seed)
        features = torch.randn(prompts, responses, size, generator=generator, dtype=torch.float64)
        direction = torch.randn(size, generator=generator, dtype=torch.float64)
        taste = strength * direction / direction.norm()
        logits = tilt * torch.randn(prompts, responses, generator=generator, dtype=torch.float64)
        length = torch.randint(5, 41, (prompts, responses), generator=generator).double()
        return cls(Tabular(features @ taste, logits.log_softmax(-1), length), features, taste)

    def policy(self, weights: Tensor) -> Tensor:
        """Return the [X, N] log-probabilities of a direction [D]."""
        return (self.table.reference + self.features @ weights).log_softmax(-1)

    def fit(self, loss: Callable[[Scores], Tensor], rows: Rows, **how: Any) -> Tensor:
        """Return the [X, N] log-probabilities that a loss finds; options as in `descend`."""

        def scores(weights: Tensor, at: Tensor) -> Scores:
            return self.table.scores(self.policy(weights), rows.take(at))

        start = torch.zeros(self.features.shape[-1], dtype=self.features.dtype)
        return self.policy(descend(loss, scores, start, len(rows), **how))

    def moved(self, policy: Tensor, rows: Rows) -> Tensor:
        """Return [B, K] how many nats the responses of rows have gained on the reference."""
        at = (rows.prompt[:, None], rows.response)
        return policy[at] - self.table.reference[at]
