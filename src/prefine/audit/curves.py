"""A run's curves as arrays, and the few numbers that rules read off them.

Steps see different rows, so the values of a stretch scatter about a level: every level is a mean
over steps with its t interval. A stretch is given as a share of the run, whatever its length.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prefine.errors import MissingMetric, RunFolderError
from prefine.runs import RunFolder
from prefine.statistics import Stat, t_interval, wilson

Floats = NDArray[np.float64]

HELD_OUT = "eval_"
"""Prefix of what was measured on held-out rows."""

FEWEST_STEPS = 10
"""Steps below which nothing is said: a tenth of the run would be no step at all."""

MOST_POINTS = 200
"""Values of a curve between which slopes are taken: their pairs grow with the square."""

MARGIN, LIKED = "rewards/margins", "rewards/chosen"
"""What a preference term logs: of pairs, and of single responses too."""

HEAD, TAIL = (0.0, 0.1), (0.8, 1.0)
"""The first tenth and the last fifth of a run: what it started from and what it came to."""


@dataclass(frozen=True, slots=True)
class Curve:
    """One metric over the steps at which it was logged.

    Attributes:
        name: Its name in `metrics.jsonl`.
        steps: [n] optimizer steps, rising.
        values: [n] what was logged there.
    """

    name: str
    steps: Floats
    values: Floats

    def __len__(self) -> int:
        return len(self.steps)

    def part(self, stretch: tuple[float, float], last_step: float) -> "Curve":
        """Return the curve over a share of the run; at least one value, the nearest one."""
        low, high = (share * last_step for share in stretch)
        inside = (self.steps > low) & (self.steps <= high)
        if not inside.any():
            nearest = int(np.argmin(np.abs(self.steps - (low + high) / 2)))
            inside[nearest] = True
        return Curve(self.name, self.steps[inside], self.values[inside])

    def level(self) -> Stat:
        """Return the mean of the values with its 95% t interval over steps.

        Example:
            >>> curve = Curve("loss", np.arange(4.0), np.array([0.7, 0.6, 0.7, 0.6]))
            >>> print(curve.level())
            0.6500 [0.5581, 0.7419] (n=4, t over steps)
        """
        return replace(t_interval(self.values, method="t over steps"), seeds=None)

    def smoothed(self, window: int) -> Floats:
        """[n - window + 1] moving medians: one odd step does not move them."""
        window = min(window, len(self.values))
        return np.median(np.lib.stride_tricks.sliding_window_view(self.values, window), axis=1)

    def slope(self) -> float:
        """Return the Theil-Sen slope per step: the median over all pairs of values.

        A curve of more than `MOST_POINTS` values is thinned to means of blocks first.

        Source:
            Sen 1968, JASA 63(324), pp. 1379-1389.

        Example:
            >>> Curve("loss", np.arange(5.0), np.array([4.0, 3.0, 2.0, 99.0, 0.0])).slope()
            -1.0
        """
        if len(self.values) < 2:
            return 0.0
        blocks = min(len(self.values), MOST_POINTS)
        steps, values = (
            np.array([block.mean() for block in np.array_split(axis, blocks)])
            for axis in (self.steps, self.values)
        )
        low, high = np.triu_indices(blocks, k=1)
        return float(np.median((values[high] - values[low]) / (steps[high] - steps[low])))


@dataclass(frozen=True)
class Curves:
    """Everything a rule may look at.

    Where an objective has several terms, each metric carries the name of its term. Rules ask for
    metrics by their own names and are given those of the preference term (`terms`).

    Attributes:
        rows: One mapping a logged step, with `step`.
        config: The resolved configuration, without the header.
        header: What the run said of itself before its first step.
        summary: What it ended with; None if it did not end.
        held_out: The scores of the held-out rows; None if the run kept none.
    """

    rows: Sequence[Mapping[str, Any]]
    config: Mapping[str, Any] = field(default_factory=dict)
    header: Mapping[str, Any] = field(default_factory=dict)
    summary: Mapping[str, Any] | None = None
    held_out: Sequence[Mapping[str, Any]] | None = None

    @property
    def last_step(self) -> float:
        """The last step that was logged."""
        return float(max((row["step"] for row in self.rows), default=0))

    @cached_property
    def _names(self) -> frozenset[str]:
        return frozenset(name for row in self.rows for name in row)

    @cached_property
    def terms(self) -> tuple[str, ...]:
        """The preference terms of an objective of several terms, the weightiest first.

        Rules read the first. Weights are not logged; they follow from `loss`, which is the weighted
        sum of the losses of all terms.
        """
        if MARGIN in self._names or LIKED in self._names:
            return ()
        for metric in (MARGIN, LIKED):
            found = sorted(_before(name, metric) for name in self._names if _before(name, metric))
            if found:
                weights = self._weights()
                return tuple(sorted(found, key=lambda term: -weights.get(term, 0.0)))
        return ()

    def _weights(self) -> dict[str, float]:
        names = sorted(_before(name, "loss") for name in self._names if _before(name, "loss"))
        wanted = ["loss", *(f"{term}/loss" for term in names)]
        whole = [row for row in self.rows if row.keys() >= {*wanted}]
        values = np.array([[row[name] for name in wanted] for row in whole], dtype=np.float64)
        values = values[np.isfinite(values).all(axis=1)] if len(values) else values
        if not len(values):
            return {}
        fitted = np.linalg.lstsq(values[:, 1:], values[:, 0], rcond=None)[0]
        return dict(zip(names, np.abs(fitted).tolist(), strict=True))

    def logged_as(self, name: str) -> str:
        """Return what a metric of the preference term is called in the rows.

        Example:
            >>> rows = [{"step": 1, "loss": 1.7, "dpo/loss": 0.7, "dpo/rewards/margins": 0.0}]
            >>> Curves(rows).logged_as("loss"), Curves(rows).logged_as("grad_norm")
            ('dpo/loss', 'grad_norm')
        """
        if not self.terms:
            return name
        split = HELD_OUT if name.startswith(HELD_OUT) else ""
        own = f"{split}{self.terms[0]}/{name.removeprefix(split)}"
        return own if own in self._names else name

    def get(self, name: str) -> Curve:
        """Return a metric's curve, under the name that it was logged by.

        Raises:
            MissingMetric: If it was never logged.
        """
        logged = self.logged_as(name)
        found = [
            (float(row["step"]), float(row[logged]))
            for row in self.rows
            if isinstance(row.get(logged), int | float) and math.isfinite(row[logged])
        ]
        if not found:
            raise MissingMetric(name)
        steps, values = np.array(sorted(found), dtype=np.float64).T
        return Curve(logged, steps, values)

    def has(self, *names: str) -> bool:
        """Whether all of these metrics were logged."""
        return all(self.logged_as(name) in self._names for name in names)

    def over(self, name: str, stretch: tuple[float, float]) -> Curve:
        """Return a metric's curve over a share of the run."""
        return self.get(name).part(stretch, self.last_step)

    @property
    def has_reference(self) -> bool:
        """Whether the policy was compared with a reference."""
        return self.has("kl_reference")

    @property
    def is_reward_model(self) -> bool:
        """Whether a reward was trained, not a policy."""
        return self.header.get("unit") == "reward"

    def margin(self) -> Curve:
        """Return the reward margin; of single responses, the liked ones' reward over the others'.

        Raises:
            MissingMetric: If the objective has none.
        """
        if self.has("rewards/margins"):
            return self.get("rewards/margins")
        both = ("rewards/chosen", "rewards/rejected")
        if not self.has(*both):
            raise MissingMetric("rewards/margins")
        good, bad = (self.get(name) for name in both)
        steps, of_good, of_bad = np.intersect1d(
            good.steps, bad.steps, assume_unique=True, return_indices=True
        )
        if not len(steps):
            raise MissingMetric("rewards/margins")
        return Curve("rewards/margins", steps, good.values[of_good] - bad.values[of_bad])

    def beta(self) -> float:
        """Return the factor between log-ratios and rewards, from the curves or from the options.

        Raises:
            MissingMetric: If neither tells.
        """
        if self.has("log_ratio/chosen", "log_ratio/rejected", "rewards/margins"):
            good, bad = self.get("log_ratio/chosen"), self.get("log_ratio/rejected")
            gap, reward = good.values - bad.values, self.get("rewards/margins").values
            if gap.shape == reward.shape and np.abs(gap).max() > 1e-6:
                far = int(np.argmax(np.abs(gap)))
                return float(reward[far] / gap[far])
        options = self.config.get("options") or {}
        if not isinstance(options.get("beta"), int | float):
            raise MissingMetric("options.beta")
        return float(options["beta"])

    def ratio_margin(self) -> Curve:
        """Return log-ratio of the chosen minus that of the rejected, nats."""
        margin = self.margin()
        return Curve(
            "log_ratio/chosen - log_ratio/rejected", margin.steps, margin.values / self.beta()
        )

    def tokens(self) -> float:
        """Return the scored tokens of a response: its log-probability by that of a token."""
        if self.has("logps/chosen", "logps/rejected"):
            each = self.over("logps/mean_token", HEAD).level().value
            return max(1.0, -self.surprisal() / each) if each < 0 else 1.0
        if self.held_out is None:
            raise MissingMetric("logps/chosen")
        return max(1.0, float(np.mean([row["length"][0] for row in self.held_out])))

    def surprisal(self) -> float:
        """Return minus the log-probability of a response at the start, nats: the natural scale.

        Raises:
            MissingMetric: If neither pairs nor held-out rows tell how long responses are.
        """
        if self.has("logps/chosen", "logps/rejected"):
            names = ("logps/chosen", "logps/rejected")
            return -sum(self.over(name, HEAD).level().value for name in names) / 2
        return -self.tokens() * self.over("logps/mean_token", HEAD).level().value

    def drift(self, stretch: tuple[float, float] = TAIL) -> Curve:
        """Return how far the policy has left its reference, or its start, nats per token."""
        if self.has_reference:
            gap = self.over("kl_reference", stretch)
            return Curve("kl_reference per token", gap.steps, gap.values / self.tokens())
        now, start = self.over("logps/mean_token", stretch), self.over("logps/mean_token", HEAD)
        fallen = start.level().value - now.values
        return Curve("fall of logps/mean_token", now.steps, fallen)

    def held_out_accuracy(self) -> Stat:
        """Return the held-out accuracy at the end, of the kind that `rewards/accuracies` is.

        Raises:
            MissingMetric: If nothing was held out.
        """
        metrics = (self.summary or {}).get("metrics") or {}
        for name in ("reward_accuracy", "accuracy") if self.has_reference else ("accuracy",):
            if name in metrics:
                return Stat.from_json(metrics[name])
        curve = self.get(HELD_OUT + "rewards/accuracies")
        count = int((self.header.get("rows") or {}).get("held_out") or 0)
        if not count:
            raise MissingMetric("rows.held_out")
        return replace(wilson(round(curve.values[-1] * count), count), value=curve.values[-1])


def _before(name: str, metric: str) -> str:
    """Return the term that a metric on training rows belongs to, or ""."""
    belongs = name.endswith(f"/{metric}") and not name.startswith(HELD_OUT)
    return name.removesuffix(f"/{metric}") if belongs else ""


def read_curves(path: Path | str) -> Curves:
    """Read the curves of a run from its folder.

    Raises:
        RunFolderError: If the folder holds no run, or a run without a step.
    """
    folder = RunFolder(path)
    if not folder.config_file.is_file():
        raise RunFolderError(f"{path} holds no run.yaml, so it is no run. Name a run's folder.")
    rows = folder.metrics()
    if not rows:
        raise RunFolderError(
            f"{path} holds no metrics.jsonl with a step in it, so there are no curves to read."
        )
    config = folder.read_config()
    header = config.pop("header", {})
    return Curves(rows, config, header, folder.read_summary(), folder.held_out())
