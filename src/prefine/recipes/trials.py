"""Equal trials for every objective: the same learning rates, and as many strengths."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from prefine.errors import ConfigError
from prefine.objectives import registry

STRENGTHS = ("beta", "tau", "delta", "odds_weight", "temperature")
"""Options that say how strongly an objective pulls, the first that it has."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One setting of one objective.

    Attributes:
        objective: Its name.
        number: Which trial; a trial of another objective with this number has the same rate.
        rate: Learning rate.
        options: Its strength by name; empty if it has none.
    """

    objective: str
    number: int
    rate: float
    options: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return {
            "objective": self.objective, "trial": self.number, "learning_rate": self.rate,
            "options": self.options,
        }  # fmt: skip


def plan(objectives: Sequence[str], count: int, rates: tuple[float, float]) -> list[Trial]:
    """Return `count` trials of each objective.

    Learning rate and strength are spread evenly over their ranges on a logarithmic scale, at the
    same places for all: no objective gets more tries or better ones. The range of a strength is the
    one that is usual for the objective.

    Args:
        objectives: Names.
        count: Trials of each.
        rates: Smallest and largest learning rate.

    Raises:
        ConfigError: If there are fewer than two objectives, one is named twice, or the rates are
            no range.

    Source:
        Equal trials over rate and strength: after the protocol of arXiv:2407.15229.

    Example:
        >>> first = plan(["dpo", "simpo"], 2, (1e-6, 1e-4))
        >>> [trial.objective for trial in first], first[0].rate == first[2].rate
        (['dpo', 'dpo', 'simpo', 'simpo'], True)
        >>> 0.01 <= first[0].options["beta"] <= 0.5, 2 <= first[2].options["beta"] <= 10
        (True, True)
    """
    names = [name if ":" in name else name.replace("-", "_") for name in objectives]
    if len(names) < 2 or len(set(names)) < len(names):
        raise ConfigError(f"Name two different objectives or more, got {', '.join(names)}.")
    if not 0 < rates[0] <= rates[1]:
        raise ConfigError(f"Learning rates must be a range above 0, got {rates[0]} to {rates[1]}.")
    return [
        Trial(name, number, between(rates, first), _strength(name, second))
        for name in names
        for number, (first, second) in enumerate(places(count))
    ]


def places(count: int) -> list[tuple[float, float]]:
    """Return points of the unit square that lie evenly however many there are.

    Source:
        Roberts 2018, "The unreasonable effectiveness of quasirandom sequences": R2, whose steps are
        powers of the plastic number, the root of x^3 = x + 1.

    Example:
        >>> [(round(x, 3), round(y, 3)) for x, y in places(3)]
        [(0.5, 0.5), (0.255, 0.07), (0.01, 0.64)]
    """
    plastic = 1.32471795724474602596
    steps = (1 / plastic, 1 / plastic**2)
    return [((0.5 + n * steps[0]) % 1, (0.5 + n * steps[1]) % 1) for n in range(count)]


def between(ends: tuple[float, float], share: float) -> float:
    """Return the number that lies a share of the way from one end to the other, by logarithm.

    Example:
        >>> between((1.0, 100.0), 0.5)
        10.0
    """
    low, high = ends
    return float(f"{low * (high / low) ** share:.4g}")


def _strength(objective: str, share: float) -> dict[str, float]:
    options = registry.describe(objective)["options"]
    for name in STRENGTHS:
        usual = options.get(name, {}).get("usual")
        if usual:
            return {name: between((usual[0], usual[1]), share)}
    return {}
