"""What came of an experiment: measures with intervals, and what they say of the claim."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from prefine.ledger.entry import Bound, Entry
from prefine.statistics import Stat, t_interval
from prefine.storage import write_json

Status = Literal["reproduced", "partly", "not reproduced"]
ORDER: tuple[Status, ...] = ("not reproduced", "partly", "reproduced")


@dataclass(frozen=True, slots=True)
class SeedRun:
    """One seed.

    Attributes:
        seed: Which.
        metrics: Name -> value.
        seconds: Of one core.
    """

    seed: int
    metrics: Mapping[str, float]
    seconds: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found of one bound.

    Attributes:
        bound: The bound.
        found: The method's measure.
        control: The control's, or None if the bound has none.
    """

    bound: Bound
    found: Stat
    control: Stat | None

    @property
    def held(self) -> bool:
        """Whether the method's interval lies inside."""
        return self.bound.holds(self.found)

    @property
    def proved(self) -> bool:
        """Whether it held, and the control, if there is one, missed."""
        return self.held and (self.control is None or self.bound.fails(self.control))


@dataclass(frozen=True)
class Outcome:
    """Runs of an entry, and where they come from.

    Attributes:
        entry: What was declared.
        runs: One a seed.
        made: Date, commit, versions and the hash of the sources.
    """

    entry: Entry
    runs: Sequence[SeedRun]
    made: dict[str, Any]

    @cached_property
    def figures(self) -> dict[str, Stat]:
        """Every number with its interval over seeds."""
        names = self.runs[0].metrics
        return {name: t_interval([run.metrics[name] for run in self.runs]) for name in names}

    @property
    def verdicts(self) -> list[Verdict]:
        """One a bound."""
        return [
            Verdict(
                bound,
                self.figures[bound.measure],
                self.figures[f"{bound.measure}/control"] if bound.control else None,
            )
            for bound in self.entry.bounds
        ]

    @property
    def status(self) -> Status:
        """`reproduced` if every bound is proved, `partly` if some, else `not reproduced`."""
        proved = [verdict.proved for verdict in self.verdicts]
        return "reproduced" if all(proved) else "partly" if any(proved) else "not reproduced"

    @property
    def seconds(self) -> float:
        """Of one core, all seeds together."""
        return sum(run.seconds for run in self.runs)

    def save(self, folder: Path) -> Path:
        """Write `<name>.json`; return its path."""
        path = folder / f"{self.entry.name}.json"
        write_json(path, self.to_json())
        return path

    def to_json(self) -> dict[str, Any]:
        """Return what is kept: raw numbers, and beside them what they come to."""
        return {
            "name": self.entry.name, "numbers": list(self.entry.numbers), "status": self.status,
            "declared": self.entry.hash, "made": dict(self.made),
            "seconds": round(self.seconds, 1),
            "figures": {name: stat.to_json() for name, stat in self.figures.items()},
            "runs": [
                {"seed": run.seed, "seconds": round(run.seconds, 2), "metrics": dict(run.metrics)}
                for run in self.runs
            ],
        }  # fmt: skip


def load(entry: Entry, folder: Path) -> Outcome | None:
    """Return the kept outcome of an entry, or None.

    An outcome of another declaration is none: bounds are not moved under a result.
    """
    path = folder / f"{entry.name}.json"
    if not path.exists():
        return None
    kept = json.loads(path.read_text(encoding="utf-8"))
    if kept["declared"] != entry.hash:
        return None
    runs = [SeedRun(one["seed"], one["metrics"], one["seconds"]) for one in kept["runs"]]
    return Outcome(entry, runs, kept["made"])
