"""Which objective suits this data and this model: equal trials, then fresh seeds for the best."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from prefine.adapters import CausalLM
from prefine.errors import ConfigError, PrefineError, RecordError, RunFolderError
from prefine.models import load_tokenizer
from prefine.objectives import registry
from prefine.objectives.declare import spec
from prefine.recipes.choice import choose
from prefine.recipes.finding import Finding, Numbers, Tried, matrices
from prefine.recipes.policy_numbers import Yardstick, judge_of
from prefine.recipes.study import Study
from prefine.recipes.trials import Trial, plan
from prefine.records import Records, load
from prefine.runs import entries
from prefine.storage import json_hash, write_json
from prefine.training.config import RunConfig, parse
from prefine.training.data import load_data
from prefine.training.run import train

OnStage = Callable[[str, int, int], None]
"""`on_stage(what, done, of)`."""


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
    judge = None if study.reward is None else judge_of(study.reward)
    is_new = not (study.out / "study.json").exists()
    parts = _begin(study, resume)
    try:
        for name in names:
            _check(study, next(trial for trial in trials if trial.objective == name))
    except PrefineError:
        if is_new:  # the same command, mended, finds an empty folder
            shutil.rmtree(study.out)
        raise

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


def _best(tried: Sequence[Tried], name: str, measure: str) -> Tried:
    return max(
        (one for one in tried if one.trial.objective == name), key=lambda one: one.mean(measure)
    )


def _begin(study: Study, resume: bool) -> dict[str, Records]:
    """Make the folder, or find the same study in it; return the parts that measure."""
    names, folder = ("train", "validation", "test"), study.out / "data"
    _refuse_other(study, resume)
    if not all((folder / f"{name}.jsonl").is_file() for name in names):
        share = study.holdout
        sizes = {"train": 1 - 2 * share, "validation": share, "test": share}
        parts = load(study.data).split(sizes=sizes)  # bad data leave no folder behind
        folder.mkdir(parents=True, exist_ok=True)
        mark = {"hash": json_hash(study.identity()), **study.identity()}
        write_json(study.out / "study.json", mark)
        for name, records in parts.items():
            records.save(folder / f"{name}.jsonl")
    return {name: load(str(folder / f"{name}.jsonl")) for name in names[1:]}


def _refuse_other(study: Study, resume: bool) -> None:
    """Refuse a folder that holds something else."""
    mark = study.out / "study.json"
    if not entries(study.out):
        return
    if not mark.is_file():
        raise RunFolderError(f"{study.out} is not empty and holds no study. Name another.")
    if not resume:
        raise RunFolderError(f"{study.out} holds a study. Go on with --resume, or name another.")
    kept = json.loads(mark.read_text(encoding="utf-8"))
    if kept["hash"] != json_hash(study.identity()):
        raise RunFolderError(
            f"{study.out} holds another study: its settings differ from these. Name another "
            "folder, or give the settings of its study.json."
        )


def _check(study: Study, trial: Trial) -> None:
    """Refuse an objective that cannot be run, before the first run of any."""
    name = trial.objective
    declared = spec(registry.build(name, trial.options))
    if declared.unit == "reward":
        raise ConfigError(
            f"{name} trains a reward model, which answers nothing: it cannot be compared with "
            "objectives that train a policy. Leave it out."
        )
    config = _config(study, trial, 0, study.out)
    adapter = CausalLM(load_tokenizer(study.model), max_length=config.max_length)
    try:
        load_data(config, declared, adapter, name=name)
    except (ConfigError, RecordError) as error:
        raise type(error)(f"Nothing was run, for {name} cannot be. {error}") from error


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
