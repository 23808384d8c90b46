"""A stream of domains: tastes that agree in some features and turn by an angle in the others.

The truth: domain d likes the direction `tastes[d]`, of which the first features are the same for
all domains; in the rest, each domain's part stands at a known angle to that of the first. Pairs
come domain after domain, and some labels are the wrong way round. A policy is one direction, so it
can serve two domains only as far as their tastes allow, and how far is known.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from prefine.ledger.worlds.linear import Judged, Linear


@dataclass(frozen=True)
class Domains:
    """Tastes of several domains.

    Attributes:
        tastes: [K, D] the direction that each domain likes, in log-odds per unit.

    Example:
        >>> world = Domains.drawn(0, angles=(0.0, 90.0), size=20, own=0.5)
        >>> cosine = torch.cosine_similarity(*world.tastes, dim=0)
        >>> round(float(cosine), 6)  # half agrees, half is at a right angle
        0.5
    """

    tastes: Tensor

    @classmethod
    def drawn(
        cls,
        seed: int,
        *,
        angles: tuple[float, ...] = (0.0, 90.0),
        size: int = 20,
        own: float = 0.5,
        strength: float = 2.0,
    ) -> "Domains":
        """Draw tastes of a given strength.

        Args:
            seed: Of the directions.
            angles: Degrees from the first domain's own part to that of each domain.
            size: Features.
            own: Share of the features, and of a taste's squared length, that a domain has of its
                own.
            strength: Length of each taste.
        """
        generator = torch.Generator().manual_seed(seed)
        ours = round(own * size)
        shared = torch.randn(size - ours, generator=generator, dtype=torch.float64)
        plane = torch.randn(ours, 2, generator=generator, dtype=torch.float64)
        first, second = torch.linalg.qr(plane).Q.mT
        turns = torch.tensor([math.radians(angle) for angle in angles], dtype=torch.float64)
        parts = turns.cos()[:, None] * first + turns.sin()[:, None] * second
        common = (shared / shared.norm()).expand(len(angles), -1)
        return cls(
            strength * torch.cat([math.sqrt(1 - own) * common, math.sqrt(own) * parts], dim=1)
        )

    def __len__(self) -> int:
        return len(self.tastes)

    def domain(self, at: int) -> Linear:
        """Return one domain by itself."""
        return Linear(self.tastes[at])

    def stream(
        self, steps: int, batch: int, generator: torch.Generator, *, flips: float
    ) -> Iterator[tuple[int, Judged]]:
        """Yield so many batches of each domain in turn, with the domain's number.

        Args:
            steps: Batches of a domain.
            batch: Pairs of a batch.
            generator: Of pairs, labels and slips.
            flips: Share of labels that are turned around.
        """
        for at in range(len(self)):
            world = self.domain(at)
            for _ in range(steps):
                pairs = world.responses(batch, generator)
                yield at, world.judged(pairs, generator, flips=(flips,))

    def accuracy(self, weights: Tensor, features: Tensor) -> list[float]:
        """Return for each domain the share of pairs [B, 2, D] that it orders as weights do."""
        return [self.domain(at).accuracy(weights, features) for at in range(len(self))]
