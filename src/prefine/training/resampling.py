"""Rows of a step drawn by source, each source in rounds that hold every row once."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from prefine.errors import ConfigError

STEP = 1_000_003
"""Keeps the seeds of runs apart from those of steps."""


class SourceDraws:
    """Draws positions of rows: a source by the mixture, then its next row.

    A source goes through its rows in a random order, and through a new one once all were drawn. So
    no row of a source is drawn twice before each other one was drawn once, and what has been drawn
    follows from one number a source.

    Args:
        positions: Of the rows of each source.
        seed: Of sources and orders.

    Attributes:
        counts: Draws from each source so far.

    Example:
        >>> draws = SourceDraws([(0, 1), (2, 3, 4)])
        >>> sorted(draws.draw(torch.tensor([0.0, 1.0]), 3, step=0))
        [2, 3, 4]
        >>> draws.counts
        [0, 3]
    """

    def __init__(self, positions: Sequence[Sequence[int]], seed: int = 0) -> None:
        self.positions, self.seed = positions, seed
        self.counts = [0] * len(positions)
        self._orders: dict[int, tuple[int, list[int]]] = {}

    def draw(self, shares: Tensor, count: int, *, step: int, part: int = 0) -> list[int]:
        """Return positions of rows for a micro-batch.

        Args:
            shares: [S] of the sources in the mixture.
            count: How many rows.
            step: Of the optimizer.
            part: Which micro-batch of the step.
        """
        generator = torch.Generator().manual_seed((self.seed * STEP + step) * STEP + part)
        chosen = torch.multinomial(
            shares.double().cpu(), count, replacement=True, generator=generator
        )
        return [self._next(source) for source in chosen.tolist()]

    def _next(self, source: int) -> int:
        rows = self.positions[source]
        turn, at = divmod(self.counts[source], len(rows))
        self.counts[source] += 1
        known, order = self._orders.get(source, (-1, []))
        if known != turn:
            generator = torch.Generator().manual_seed((self.seed * STEP + source) * STEP + turn)
            order = torch.randperm(len(rows), generator=generator).tolist()
            self._orders[source] = turn, order
        return rows[order[at]]

    def told(self, names: Sequence[str]) -> dict[str, dict[str, int]]:
        """Say of each source how many rows it has, and how often they were drawn.

        Returns:
            Source -> `rows`, `draws`, `never` (rows that were not drawn) and `repeated` (rows that
            were drawn more than once).

        Example:
            >>> draws = SourceDraws([(0, 1, 2)])
            >>> _ = draws.draw(torch.ones(1), 4, step=0)
            >>> draws.told(["a"])
            {'a': {'rows': 3, 'draws': 4, 'never': 0, 'repeated': 1}}
        """
        found: dict[str, dict[str, int]] = {}
        for name, rows, count in zip(names, self.positions, self.counts, strict=True):
            never, repeated = max(0, len(rows) - count), min(max(0, count - len(rows)), len(rows))
            found[name] = {
                "rows": len(rows), "draws": count, "never": never, "repeated": repeated,
            }  # fmt: skip
        return found

    def load(self, counts: Any) -> None:
        """Go on after so many draws from each source.

        Raises:
            ConfigError: If they are of other sources, or none were kept.
        """
        if not isinstance(counts, list) or len(counts) != len(self.counts):
            raise ConfigError(
                f"mixing.how=resample: the checkpoint does not say how often each of "
                f"{len(self.counts)} sources was drawn, so it is of another run. Start a new one."
            )
        self.counts = [int(count) for count in counts]
