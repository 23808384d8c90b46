"""Which of several objectives is better than all others, if any, by what was measured."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from numpy.typing import ArrayLike

from prefine.errors import ConfigError, StatisticError
from prefine.statistics import Stat, crossed_mean, holm

LEVEL = 0.05
"""Chance of naming a winner where there is none."""

Values = Mapping[str, ArrayLike]
"""Objective -> [S, P] a number for each seed and prompt, more being better."""


@dataclass(frozen=True, slots=True)
class Gap:
    """One objective against another.

    Attributes:
        first: The one with the higher mean.
        second: The other.
        stat: First minus second, over seeds and prompts.
        p: Two-sided p-value.
        p_holm: The same, adjusted for all pairs.
    """

    first: str
    second: str
    stat: Stat
    p: float
    p_holm: float

    @property
    def told(self) -> bool:
        """Whether the two can be told apart, all pairs considered."""
        return self.p_holm < LEVEL

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return {
            "first": self.first, "second": self.second, "difference": self.stat.to_json(),
            "p": self.p, "p_holm": self.p_holm, "differs": self.told,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Choice:
    """What was found.

    Attributes:
        means: Objective -> its mean, the best first.
        gaps: Every pair.
        winner: The objective that is better than each other one, or None.
    """

    means: Mapping[str, Stat]
    gaps: tuple[Gap, ...]
    winner: str | None

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return {
            "means": {name: stat.to_json() for name, stat in self.means.items()},
            "gaps": [gap.to_json() for gap in self.gaps],
            "winner": self.winner,
        }

    @property
    def words(self) -> str:
        """The finding as a sentence."""
        if self.winner is not None:
            return f"{self.winner} is better than each of the others, all comparisons considered."
        best = next(iter(self.means))
        level = [gap.second for gap in self.gaps if gap.first == best and not gap.told]
        return (
            f"No objective is better than all others: {best} has the highest mean, but cannot be "
            f"told from {', '.join(level)}. That is no proof that they are equal: see how wide the "
            "intervals are."
        )


def choose(values: Values, *, corrected: bool = True) -> Choice:
    """Compare all pairs, and name a winner only if it is better than each other one.

    Differences are paired by seed and prompt, their intervals are over both, and p-values are
    adjusted after Holm for all pairs, so that where no two differ, a winner is named in at most one
    of twenty studies.

    Args:
        values: Of the final runs, whose seeds and prompts took no part in choosing settings.
        corrected: Whether p-values are adjusted. Only to show what happens without.

    Raises:
        ConfigError: If there are fewer than two objectives.
        StatisticError: If their numbers differ in shape, or are too few.

    Example:
        >>> import numpy as np
        >>> noise = np.random.default_rng(0).normal(size=(4, 50))
        >>> choose({"dpo": noise, "ipo": noise[::-1] + 1.0}).winner
        'ipo'
    """
    import numpy as np

    if len(values) < 2:
        raise ConfigError("There is nothing to choose from: name two objectives or more.")
    found = {name: np.asarray(each, dtype=np.float64) for name, each in values.items()}
    if len({each.shape for each in found.values()}) > 1:
        shapes = ", ".join(f"{name} {each.shape}" for name, each in found.items())
        raise StatisticError(f"Objectives were not measured alike: {shapes}.")
    order = sorted(found, key=lambda name: -found[name].mean())
    pairs = list(combinations(order, 2))
    compared = [crossed_mean(found[one] - found[other]) for one, other in pairs]
    raw = [p for _, p in compared]
    adjusted = holm(raw) if corrected else raw
    gaps = tuple(
        Gap(*pair, stat, p, holmed)
        for pair, (stat, p), holmed in zip(pairs, compared, adjusted, strict=True)
    )
    wins = all(gap.told for gap in gaps if gap.first == order[0])
    means = {name: crossed_mean(found[name])[0] for name in order}
    return Choice(means, gaps, order[0] if wins else None)
