"""Which objective suits this data and this model: equal trials, then fresh seeds for the best."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from prefine.errors import ConfigError, RunFolderError
from prefine.objectives import registry
from prefine.objectives.declare import spec
from prefine.recipes.choice import Choice, choose
from prefine.recipes.policy_numbers import MEANINGS, Yardstick, judge_of
from prefine.recipes.trials import Trial, plan
from prefine.records import Records, load
from prefine.statistics import Stat, cluster_bootstrap
from prefine.storage import json_hash, write_json
from prefine.training.config import RunConfig, parse
from prefine.training.run import train

Json = dict[str, Any]
Numbers = Mapping[str, Mapping[str, float]]
"""Measure -> prompt -> value."""

OnStage = Callable[[str, int, int], None]
"""`on_stage(what, done, of)`."""


@dataclass(frozen=True, kw_only=True)
class Study:
    """What is compared, and how.

    Attributes:
        data: Records, or any format that `prefine train` reads.
        model: Where every run starts, and the reference.
        out: Folder of the study.
        objectives: Names.
        trials: Settings that each objective may try.
        seeds: Runs of each objective's best setting, with seeds of their own.
        rates: Smallest and largest learning rate.
        measure: What decides; `reward` where there is one, else `reward_accuracy`.
        reward: Reward model, or `module:function`, for what the policies answer.
        samples: Held-out prompts that every policy answers, for its KL and length.
        max_new_tokens: Longest answer.
        holdout: Share of prompts to choose settings on, and again as many for the final numbers.
        settings: Further keys of a run: `training`, `lora`, `max_length`, ...

    Raises:
        ConfigError: If a number makes no sense, or a key belongs to the study itself.
    """

    data: str
    model: str
    out: Path
    objectives: Sequence[str]
    trials: int = 6
    seeds: int = 5
    rates: tuple[float, float] = (1e-6, 1e-4)
    measure: str | None = None
    reward: str | None = None
    samples: int = 64
    max_new_tokens: int = 256
    holdout: float = 0.15
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        """Check what no run would."""
        if self.trials < 1 or self.seeds < 2:
            raise ConfigError(
                f"A study needs a trial or more and two seeds or more, got {self.trials} and "
                f"{self.seeds}: one seed says nothing of another."
            )
        if not 0 < self.holdout < 0.45:
            raise ConfigError(f"`holdout` must lie between 0 and 0.45, got {self.holdout}.")
        if self.decides not in MEANINGS or self.decides in ("kl", "length"):
            raise ConfigError(
                "`measure` must be reward, reward_accuracy or ranking_accuracy, got "
                f"{self.measure}."
            )
        if self.decides == "reward" and (self.reward is None or not self.samples):
            raise ConfigError("To decide by reward, name --reward and let prompts be answered.")
        own = {"objective", "options", "model", "data", "eval_data", "holdout", "out", "seed"}
        if taken := sorted(own & self.settings.keys()):
            raise ConfigError(f"{', '.join(taken)}: the study sets these itself.")
        if "learning_rate" in self.settings.get("training", {}):
            raise ConfigError("training.learning_rate is what is tried: give --rates.")

    @property
    def decides(self) -> str:
        """The measure that decides."""
        return self.measure or ("reward" if self.reward else "reward_accuracy")

    def identity(self) -> Json:
        """What must be the same when a study goes on."""
        return {
            "data": self.data, "model": self.model, "objectives": list(self.objectives),
            "trials": self.trials, "seeds": self.seeds, "rates": list(self.rates),
            "measure": self.decides, "reward": self.reward, "samples": self.samples,
            "max_new_tokens": self.max_new_tokens, "holdout": self.holdout,
            "settings": dict(self.settings),
        }  # fmt: skip


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


def compare_objectives(
    study: Study, *, resume: bool = False, on_stage: OnStage | None = None
) -> Finding:
    """Run a study: split, try, choose settings, run them again with fresh seeds, compare.

    Every objective gets the same number of trials at the same learning rates; its best one, by
    prompts held out for that, is trained again with seeds of its own and measured on prompts that
    took no part in any choice. What a trial has learned is deleted once it is measured.

    Args:
        study: What is asked.
        resume: Go on with a study in the same folder; what is done is not done again.
        on_stage: Called before each run.

    Returns:
        The finding, which is also in `compare.json`.

    Raises:
        RunFolderError: If the folder holds something else, or another study.
        ConfigError: If a configuration makes no sense.
    """
    trials = plan(study.objectives, study.trials, study.rates)
    names = list(dict.fromkeys(trial.objective for trial in trials))
    say = on_stage or (lambda *_: None)
    _open(study, resume)
    parts = _split(study)
    judge = None if study.reward is None else judge_of(study.reward)

    def yardstick(part: str) -> Yardstick:
        return Yardstick(
            study.model, parts[part], study.samples, judge,
            max_new_tokens=study.max_new_tokens,
            max_length=study.settings.get("max_length", 1024),
        )  # fmt: skip

    of = len(trials) + len(names) * study.seeds
    choosing, last = yardstick("validation"), yardstick("test")
    tried: list[Tried] = []
    for at, trial in enumerate(trials):
        say(f"{trial.objective}, trial {trial.number + 1} of {study.trials}", at, of)
        where = Path("trials") / trial.objective.replace(":", ".") / str(trial.number)
        tried.append(Tried(trial, _run(study, trial, 0, where, choosing)))
    best = {name: _best(tried, name, study.decides) for name in names}
    final: dict[str, dict[int, Numbers]] = {name: {} for name in names}
    for n, name in enumerate(names):
        for seed in range(1, study.seeds + 1):
            say(
                f"{name}, seed {seed} of {study.seeds}",
                len(trials) + n * study.seeds + seed - 1,
                of,
            )
            where = Path("final") / name.replace(":", ".") / str(seed)
            made = _run(study, best[name].trial, seed, where, last, keep=True)
            final[name][seed] = made
    choice = choose(matrices(final, study.decides))
    finding = Finding(study, tried, best, final, choice)
    write_json(study.out / "compare.json", finding.to_json())
    return finding


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


def _best(tried: Sequence[Tried], name: str, measure: str) -> Tried:
    return max(
        (one for one in tried if one.trial.objective == name), key=lambda one: one.mean(measure)
    )


def _open(study: Study, resume: bool) -> None:
    """Make the folder, or find the same study in it."""
    mark = study.out / "study.json"
    if study.out.exists() and any(study.out.iterdir()):
        if not mark.is_file():
            raise RunFolderError(f"{study.out} is not empty and holds no study. Name another.")
        if not resume:
            raise RunFolderError(
                f"{study.out} holds a study. Go on with --resume, or name another."
            )
        kept = json.loads(mark.read_text(encoding="utf-8"))
        if kept["hash"] != json_hash(study.identity()):
            raise RunFolderError(
                f"{study.out} holds another study: its settings differ from these. Name another "
                "folder, or give the settings of its study.json."
            )
        return
    study.out.mkdir(parents=True, exist_ok=True)
    write_json(mark, {"hash": json_hash(study.identity()), **study.identity()})


def _split(study: Study) -> dict[str, Records]:
    """Divide the prompts into three parts, once, and keep them as files."""
    folder = study.out / "data"
    names = ("train", "validation", "test")
    if not all((folder / f"{name}.jsonl").is_file() for name in names):
        share = study.holdout
        sizes = {"train": 1 - 2 * share, "validation": share, "test": share}
        for name, records in load(study.data).split(sizes=sizes).items():
            folder.mkdir(parents=True, exist_ok=True)
            records.save(folder / f"{name}.jsonl")
    return {name: load(str(folder / f"{name}.jsonl")) for name in names[1:]}


def _run(
    study: Study,
    trial: Trial,
    seed: int,
    where: Path,
    yardstick: Yardstick,
    *,
    keep: bool = False,
) -> Numbers:
    """Train and measure, unless an earlier call did; keep the model only where asked."""
    folder = study.out / where
    done = folder / "numbers.json"
    if done.is_file():
        return json.loads(done.read_text(encoding="utf-8"))
    if folder.exists():
        shutil.rmtree(folder)  # of a run that was cut off
    result = train(_config(study, trial, seed, folder), quiet=True)
    numbers = yardstick.measure(str(result.folder / "model"))
    if not keep:
        for name in ("model", "checkpoints"):
            shutil.rmtree(folder / name, ignore_errors=True)
    write_json(done, numbers)
    return numbers


def _config(study: Study, trial: Trial, seed: int, folder: Path) -> RunConfig:
    needs = spec(registry.build(trial.objective, trial.options)).needs
    given = dict(study.settings)
    training = {
        "eval_strategy": "no", "save_strategy": "no", **given.pop("training", {}),
        "learning_rate": trial.rate,
    }  # fmt: skip
    if needs.reference:
        given.setdefault("reference", "cached")  # one cache for all runs
    return parse(
        {
            "objective": trial.objective, "options": trial.options, "model": study.model,
            "data": str(study.out / "data" / "train.jsonl"), "holdout": 0, "out": str(folder),
            "seed": seed, "training": training, **given,
        }
    )  # fmt: skip
