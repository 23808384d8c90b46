"""What an experiment of the ledger declares, before it has a result."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from prefine.errors import ConfigError
from prefine.statistics import Stat
from prefine.storage import json_hash

Metrics = Mapping[str, float]
"""Measure -> value for the method; `measure/baseline`, `measure/control`, ... for other arms."""


@dataclass(frozen=True, slots=True)
class Bound:
    """What a measure must be for a claim to hold; set before the first result, and kept.

    Attributes:
        measure: Name of a number that the experiment returns.
        says: What the measure is, in words that need no paper.
        at_least: Smallest value that agrees with the claim, or None.
        at_most: Largest, or None.
        control: Whether the control has this measure too and must lie outside. A bound on what
            must merely not suffer has none.

    Example:
        >>> bound = Bound("distance", "distance to the optimum", at_most=0.01)
        >>> bound.holds(Stat(0.004, 0.002, 0.006, n=10, method="t"))
        True
        >>> bound.fails(Stat(0.02, 0.008, 0.03, n=10, method="t"))  # neither inside nor outside
        False
    """

    measure: str
    says: str
    at_least: float | None = None
    at_most: float | None = None
    control: bool = True

    def __post_init__(self) -> None:
        """Refuse a bound that nothing can miss."""
        if self.at_least is None and self.at_most is None:
            raise ConfigError(f"The bound on {self.measure} is open: give at_least or at_most.")

    @property
    def low(self) -> float:
        """Lower end, minus infinity if there is none."""
        return -math.inf if self.at_least is None else self.at_least

    @property
    def high(self) -> float:
        """Upper end, infinity if there is none."""
        return math.inf if self.at_most is None else self.at_most

    def holds(self, found: Stat) -> bool:
        """Whether the whole interval lies inside."""
        return self.low <= found.low and found.high <= self.high

    def fails(self, found: Stat) -> bool:
        """Whether the whole interval lies outside."""
        return found.high < self.low or self.high < found.low

    def __str__(self) -> str:
        parts = [
            f"{word} {value:g}"
            for word, value in (("at least", self.at_least), ("at most", self.at_most))
            if value is not None
        ]
        return f"{self.measure} {' and '.join(parts)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A published claim and the experiment that tests it.

    Attributes:
        name: What the method is called here.
        numbers: Of the systems that it proves, such as `"#92"`.
        source: Paper, and the equations.
        claim: What the paper says, in our words.
        world: The problem, and why its answer is known.
        baseline: What a user would do without the method; same grid, same steps.
        control: The same code without what is claimed to matter.
        bounds: What must be found.
        run: `run(seed)` returns the measures of one seed.
        worlds: Modules of `prefine.ledger.worlds` that it uses.
        seeds: How many, counted from 0: 10 for exact worlds, 5 where a network is trained.
        grid: What is tried for method, baseline and control alike, the best taken for each.
        tried: Where the claim was not found: what was tried.

    Raises:
        ConfigError: If nothing could fail: there is no bound, or none with a control.
    """

    name: str
    source: str
    claim: str
    world: str
    baseline: str
    control: str
    bounds: tuple[Bound, ...]
    run: Callable[[int], Metrics]
    numbers: tuple[str, ...] = ()
    worlds: tuple[str, ...] = ("tabular",)
    seeds: int = 10
    grid: Mapping[str, tuple[float, ...]] = field(default_factory=dict[str, tuple[float, ...]])
    tried: str = ""

    def __post_init__(self) -> None:
        """Refuse an entry that proves nothing."""
        if not any(bound.control for bound in self.bounds):
            raise ConfigError(
                f"The entry {self.name} has no bound with a control. What cannot fail proves "
                "nothing: let one bound be one that the control must miss."
            )

    @property
    def module(self) -> str:
        """The module that holds the experiment."""
        return self.run.__module__

    def declaration(self) -> dict[str, Any]:
        """What must not change once there is a result, as JSON."""
        return {
            "name": self.name, "numbers": list(self.numbers), "source": self.source,
            "claim": self.claim, "world": self.world, "worlds": list(self.worlds),
            "baseline": self.baseline, "control": self.control, "seeds": self.seeds,
            "grid": {name: list(values) for name, values in self.grid.items()},
            "bounds": [
                {
                    "measure": bound.measure, "at_least": bound.at_least,
                    "at_most": bound.at_most, "control": bound.control,
                }
                for bound in self.bounds
            ],
        }  # fmt: skip

    @property
    def hash(self) -> str:
        """Of the declaration."""
        return json_hash(self.declaration())
