"""Whether runs differ, on the same held-out rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from prefine.audit.arms import Arm, Run, check_rows, common, complete, differences, group, read_run
from prefine.errors import ConfigError
from prefine.statistics import (
    Stat,
    cluster_bootstrap,
    holm,
    paired_cluster_bootstrap,
    paired_t,
    paired_t_test,
    sign_flip_test,
    t_interval,
    welch,
)

LEVEL = 0.05
"""Adjusted p-value below which arms are said to differ."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One measure of two arms.

    Attributes:
        first: Name of the first arm.
        second: Name of the second arm.
        measure: What is compared.
        stat: First minus second, with its interval.
        p: Two-sided p-value.
        p_holm: The same, adjusted for all differences that are told together.
    """

    first: str
    second: str
    measure: str
    stat: Stat
    p: float
    p_holm: float = 1.0

    @property
    def differs(self) -> bool:
        """Whether the arms differ, all comparisons considered."""
        return self.p_holm < LEVEL

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return {
            "first": self.first,
            "second": self.second,
            "measure": self.measure,
            "difference": self.stat.to_json(),
            "p": self.p,
            "p_holm": self.p_holm,
            "differs": self.differs,
        }


@dataclass(frozen=True)
class Comparison:
    """Runs side by side.

    Attributes:
        arms: Runs that differ in their seed alone, together.
        settings: Key of the configuration -> its value in each arm, where they differ.
        means: Arm -> measure -> its mean.
        differences: Every pair of arms in every measure.
    """

    arms: Sequence[Arm]
    settings: dict[str, list[Any]]
    means: dict[str, dict[str, Stat]]
    differences: Sequence[Difference]

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return {
            "arms": [
                {
                    "name": arm.name,
                    "runs": [str(run.path) for run in arm.runs],
                    "seeds": arm.seeds,
                    "means": {k: stat.to_json() for k, stat in self.means[arm.name].items()},
                }
                for arm in self.arms
            ],
            "settings": self.settings,
            "differences": [difference.to_json() for difference in self.differences],
        }


def compare(paths: Sequence[Path | str], wanted: Sequence[str] = ()) -> Comparison:
    """Compare finished runs on the held-out rows that they share.

    Runs of one configuration with several seeds are one arm. Two arms with the same seeds are
    compared seed by seed (paired t), two arms with several seeds each by Welch's t; where an arm
    has one seed, rows are compared (paired bootstrap and sign flips over prompts), which says
    whether these models differ, not whether the configurations do. P-values are adjusted after
    Holm for all differences that are told.

    Args:
        paths: Folders of two runs or more.
        wanted: Measures; by default all that every run has.

    Raises:
        ConfigError: If there is but one run.
        RunFolderError: If a folder holds no finished run, or held-out rows differ.
    """
    if len(paths) < 2:
        raise ConfigError("There is nothing to compare one run with. Name two runs or more.")
    arms = group([read_run(path) for path in paths])
    names = common(arms, wanted)
    pairs = list(combinations(arms, 2))
    for first, second in pairs:
        for one, other in _matched(first, second):
            check_rows(one, other)
    found = [_difference(*pair, name) for pair in pairs for name in names]
    adjusted = holm([difference.p for difference in found])
    return Comparison(
        arms,
        differences([arm.runs for arm in arms]),
        {arm.name: {name: mean(arm, name) for name in names} for arm in arms},
        [
            Difference(d.first, d.second, d.measure, d.stat, d.p, p)
            for d, p in zip(found, adjusted, strict=True)
        ],
    )


def mean(arm: Arm, name: str) -> Stat:
    """Return an arm's mean: over seeds where it has several, else over held-out rows."""
    if len(arm.runs) > 1:
        return t_interval([float(np.nanmean(run.values[name])) for run in arm.runs])
    (run,) = arm.runs
    kept = complete([run.values[name]])
    return cluster_bootstrap(run.values[name][kept], np.array(run.clusters)[kept])


def _paired_by_seed(first: Arm, second: Arm) -> bool:
    return len(first.runs) > 1 and first.seeds == second.seeds


def _matched(first: Arm, second: Arm) -> list[tuple[Run, Run]]:
    """Runs whose rows must be the same: seed by seed, or all of them."""
    if _paired_by_seed(first, second):
        return list(zip(first.runs, second.runs, strict=True))
    anchor = first.runs[0]
    return [(anchor, run) for run in (*first.runs[1:], *second.runs)]


def _difference(first: Arm, second: Arm, name: str) -> Difference:
    if _paired_by_seed(first, second):
        gaps = [_row_means(*pair, name) for pair in zip(first.runs, second.runs, strict=True)]
        ours, theirs = zip(*gaps, strict=True)
        stat, p = paired_t(ours, theirs), paired_t_test(ours, theirs)
    elif min(len(first.runs), len(second.runs)) > 1:
        ours, theirs = (_seed_means(arm, (first, second), name) for arm in (first, second))
        stat, p = welch(ours, theirs)
    else:
        stat, p = _over_rows(first, second, name)
    return Difference(first.name, second.name, name, stat, p)


def _row_means(one: Run, other: Run, name: str) -> tuple[float, float]:
    kept = complete([one.values[name], other.values[name]])
    return float(one.values[name][kept].mean()), float(other.values[name][kept].mean())


def _seed_means(arm: Arm, both: tuple[Arm, Arm], name: str) -> list[float]:
    kept = complete([run.values[name] for side in both for run in side.runs])
    return [float(run.values[name][kept].mean()) for run in arm.runs]


def _over_rows(first: Arm, second: Arm, name: str) -> tuple[Stat, float]:
    kept = complete([run.values[name] for arm in (first, second) for run in arm.runs])
    ours, theirs = (
        np.mean([run.values[name][kept] for run in arm.runs], axis=0) for arm in (first, second)
    )
    clusters = np.array(first.runs[0].clusters)[kept]
    stat = paired_cluster_bootstrap(ours, theirs, clusters)
    return stat, sign_flip_test(ours, theirs, clusters)


def curves_of(arm: Arm) -> list[dict[str, float]]:
    """Return an arm's curves: the mean over its seeds at every step that all of them logged."""
    by_step: dict[int, dict[str, list[float]]] = {}
    for run in arm.runs:
        for row in run.metrics:
            cell = by_step.setdefault(int(row["step"]), {})
            for name, value in row.items():
                if isinstance(value, int | float) and name != "step":
                    cell.setdefault(name, []).append(float(value))
    count = len(arm.runs)
    return [
        {"step": step, **{n: float(np.mean(v)) for n, v in cell.items() if len(v) == count}}
        for step, cell in sorted(by_step.items())
    ]
