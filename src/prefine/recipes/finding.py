"""What a study of objectives came to: every trial, the best, and what decides between them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from prefine.recipes.choice import Choice
from prefine.recipes.study import Json, Study
from prefine.recipes.trials import Trial
from prefine.statistics import Stat, cluster_bootstrap

Numbers = Mapping[str, Mapping[str, float]]
"""Measure -> prompt -> value."""


@dataclass(frozen=True)
class Tried:
    """A trial and what came of it.

    Attributes:
        trial: The setting.
        numbers: Measure -> prompt -> value, on the prompts for choosing.
    """

    trial: Trial
    numbers: Numbers

    def mean(self, measure: str) -> float:
        """Return the mean over prompts; NaN where it was not measured."""
        return mean_of(self.numbers, measure)


@dataclass(frozen=True)
class Finding:
    """What a study came to.

    Attributes:
        study: What was asked.
        tried: Every trial.
        best: Objective -> its best trial.
        final: Objective -> seed -> numbers, on prompts that chose nothing.
        choice: What decides between them.
    """

    study: Study
    tried: Sequence[Tried]
    best: Mapping[str, Tried]
    final: Mapping[str, Mapping[int, Numbers]]
    choice: Choice

    def of(self, objective: str) -> list[Tried]:
        """Return the trials of an objective."""
        return [one for one in self.tried if one.trial.objective == objective]

    def final_mean(self, objective: str, measure: str) -> float:
        """Return the mean of a measure over the seeds of the final runs."""
        return float(np.mean([mean_of(n, measure) for n in self.final[objective].values()]))

    @property
    def budget(self) -> float:
        """The KL that policies are matched at: the median of all trials, nats; NaN if unknown."""
        return float(np.median([one.mean("kl") for one in self.tried]))

    def at_budget(self, objective: str) -> float:
        """Return the best measure among an objective's trials within the budget; NaN if none."""
        within = [one for one in self.of(objective) if one.mean("kl") <= self.budget]
        return max((one.mean(self.study.decides) for one in within), default=float("nan"))

    def to_json(self) -> Json:
        """Return a JSON object."""
        decides = self.study.decides
        return {
            "study": self.study.identity(),
            "choice": self.choice.to_json(),
            "objectives": {
                name: {
                    "best": self.best[name].trial.to_json(),
                    "chosen_at": self.best[name].mean(decides),
                    "median_of_trials": float(np.median([t.mean(decides) for t in self.of(name)])),
                    "worst_of_trials": min(t.mean(decides) for t in self.of(name)),
                    "at_matched_kl": number_or_none(self.at_budget(name)),
                    "kl": number_or_none(self.final_mean(name, "kl")),
                    "length": number_or_none(self.final_mean(name, "length")),
                }
                for name in self.final
            },
            "matched_kl": number_or_none(self.budget),
            "trials": [
                one.trial.to_json()
                | {name: stat.to_json() for name, stat in stats_of(one.numbers).items()}
                for one in self.tried
            ],
        }


def matrices(
    final: Mapping[str, Mapping[int, Numbers]], measure: str
) -> dict[str, list[list[float]]]:
    """Return objective -> [S][P] values of the prompts that every run has a number for."""
    runs = [numbers[measure] for seeds in final.values() for numbers in seeds.values()]
    shared = sorted(set.intersection(*(set(run) for run in runs)))
    return {
        name: [[numbers[measure][p] for p in shared] for numbers in seeds.values()]
        for name, seeds in final.items()
    }


def stats_of(numbers: Numbers) -> dict[str, Stat]:
    """Return every measure with its interval over prompts."""
    return {
        name: cluster_bootstrap(list(values.values()), list(values))
        for name, values in numbers.items()
    }


def mean_of(numbers: Numbers, measure: str) -> float:
    """Return the mean over prompts; NaN where it was not measured."""
    values = numbers.get(measure)
    return float(np.mean(list(values.values()))) if values else float("nan")


def number_or_none(value: float) -> float | None:
    """Return a number as JSON has it."""
    return value if np.isfinite(value) else None
