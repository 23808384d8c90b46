"""Points of several classes, some of them with a label drawn at random: imitation with bad rows.

The truth: a class is a normal distribution around its centre, so the class of every row is known,
and so is how well anybody could tell it from the features (`knows`). The "response" to a point is
its label, one token long.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Labels:
    """Points with labels.

    Attributes:
        features: [B, D].
        label: [B] as it is told.
        truth: [B] the class that made the point.
    """

    features: Tensor
    label: Tensor
    truth: Tensor

    def __len__(self) -> int:
        return len(self.features)


@dataclass(frozen=True)
class Labelled:
    """Classes of points.

    Attributes:
        centres: [C, D] of the classes; each is N(centre, 1) and as frequent as the others.

    Example:
        >>> world = Labelled(torch.tensor([[-9.0, 0.0], [9.0, 0.0]], dtype=torch.float64))
        >>> rows = world.rows(50, torch.Generator().manual_seed(0))
        >>> torch.equal(rows.label, rows.truth), world.accuracy(world.knows(rows.features), rows)
        (True, 1.0)
    """

    centres: Tensor

    @classmethod
    def drawn(
        cls, seed: int, *, classes: int = 5, size: int = 10, apart: float = 1.0
    ) -> "Labelled":
        """Draw centres from N(0, apart^2)."""
        generator = torch.Generator().manual_seed(seed)
        return cls(apart * torch.randn(classes, size, generator=generator, dtype=torch.float64))

    def rows(self, count: int, generator: torch.Generator, *, wrong: float = 0.0) -> Labels:
        """Return points, of which a share is told a label at random, the right one included."""
        classes, size = self.centres.shape
        truth, guess = torch.randint(classes, (2, count), generator=generator)
        noise = torch.randn(count, size, generator=generator, dtype=self.centres.dtype)
        at_random = torch.rand(count, generator=generator) < wrong
        return Labels(self.centres[truth] + noise, torch.where(at_random, guess, truth), truth)

    def knows(self, features: Tensor) -> Tensor:
        """Return [B, C] log-probabilities of the classes given the features [B, D]."""
        return (-(features[:, None] - self.centres).square().sum(-1) / 2).log_softmax(-1)

    def accuracy(self, log_prob: Tensor, rows: Labels) -> float:
        """Return the share of rows whose likeliest class, of [B, C], is the true one."""
        return float((log_prob.argmax(1) == rows.truth).double().mean())
