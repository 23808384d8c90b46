"""Does `prefine diagnose` name what ails a run, and leave healthy runs alone?

Trains runs that are healthy and runs that were made to have one illness (`diagnose_cases`), reads
each with the command's own code, and counts. Rules, thresholds and cases were made on development
worlds; the worlds of the figures are others, looked at once, when all of that was fixed.

`make bench-diagnose` writes docs/results/diagnose.json.
"""

import argparse
import importlib.metadata
import json
import platform
import re
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from diagnose_cases import Case, configuration, healthy_runs, ill_runs, world

from prefine.audit import diagnose
from prefine.ledger.answers import ask
from prefine.runs import RunFolder
from prefine.statistics import proportion, wilson
from prefine.storage import write_json
from prefine.training import report
from prefine.training.config import parse
from prefine.training.progress import quieten
from prefine.training.run import train

DEVELOPMENT = [0, 1, 2, 3, 10, 11]
"""Worlds on which rules and cases were made; 1 to 3 gave the figures of an earlier version."""

FRESH = [21, 22, 23]
"""Worlds of the figures."""

ACCURACIES = ("reward_accuracy", "accuracy_normalised", "accuracy")
"""What the objective is after: against the reference, per token, or of the reward itself."""


def run(case: Case, seed: int, home: Path) -> dict[str, Any]:
    """Train a case, unless it lies there finished, and return what is said of it."""
    name = f"{case.name} {case.illness or 'healthy'} {seed}"
    folder = home / re.sub(r"\W+", "_", name)
    cost = folder / "cpu_seconds.json"
    if not cost.is_file():
        shutil.rmtree(folder, ignore_errors=True)
        start = time.process_time()
        train(parse(configuration(case, seed, folder)), quiet=True)
        write_json(cost, round(time.process_time() - start, 1))
    found = diagnose(folder / "run")
    metrics = (RunFolder(folder / "run").read_summary() or {})["metrics"]
    accuracy = next(metrics[name] for name in ACCURACIES if name in metrics)
    is_policy = case.objective != "reward"
    return {
        "case": case.name,
        "illness": case.illness or None,
        "objective": case.objective,
        "world": seed,
        "named": [finding.name for finding in found.findings],
        "follows": {f.name: f.because for f in found.findings if f.because},
        "unchecked": found.unchecked,
        "held_out_accuracy": accuracy,
        "sentences": sentences(str(folder / "run" / "model"), seed) if is_policy else None,
        "steps": found.steps,
        "cpu_seconds": json.loads(cost.read_text(encoding="utf-8")),
    }


def sentences(model: str, seed: int) -> dict[str, Any]:
    """Ask a policy, and return the share of its answers that are grammatical: what no curve shows.

    For that of the language model it started from, pass the world's own `model`.
    """
    answers = ask("policy", model, world(seed).held_out.prompts, 2, seed)
    return proportion(answers.measure("validity"), answers.clusters).to_json()


def without_pages() -> None:
    """Draw no reports: a third of a run's time, and nobody looks at them."""
    report.write_report = lambda *_: None


def summary(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Count: planted illnesses named first, and named at all; healthy runs with a finding."""
    ill = [result for result in results if result["illness"]]
    healthy = [result for result in results if not result["illness"]]
    first = [result["named"][:1] == [result["illness"]] for result in ill]
    named = [result["illness"] in result["named"] for result in ill]
    alarms = [bool(result["named"]) for result in healthy]
    learnt = [result["held_out_accuracy"]["low"] > 0.5 for result in healthy]
    of_learnt = [alarm for alarm, has in zip(alarms, learnt, strict=True) if has]
    by_illness: dict[str, Any] = {}
    for name in dict.fromkeys(result["illness"] for result in ill):
        own = [hit for result, hit in zip(ill, first, strict=True) if result["illness"] == name]
        by_illness[name] = wilson(sum(own), len(own)).to_json()
    return {
        "named_first": wilson(sum(first), len(first)).to_json(),
        "named_at_all": wilson(sum(named), len(named)).to_json(),
        "false_alarms": wilson(sum(alarms), len(alarms)).to_json(),
        "false_alarms_where_something_was_learnt": wilson(sum(of_learnt), len(of_learnt)).to_json(),
        "healthy_that_learnt": wilson(sum(learnt), len(learnt)).to_json(),
        "by_illness": by_illness,
    }


SHARES = (
    "named_first",
    "named_at_all",
    "false_alarms",
    "false_alarms_where_something_was_learnt",
    "healthy_that_learnt",
)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what `prefine diagnose` finds.")
    parser.add_argument("--worlds", type=int, nargs="+", default=FRESH)
    parser.add_argument("--healthy", type=int, default=40)
    parser.add_argument("--part", choices=("ill", "healthy", "all"), default="all")
    parser.add_argument("--only", default="", help="Cases whose name or illness holds this.")
    parser.add_argument("--folder", type=Path, help="Keep the runs here; finished ones are read.")
    parser.add_argument("--out", type=Path, default=Path("docs/results/diagnose.json"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    quieten()
    without_pages()
    asked = ill_runs(args.worlds) if args.part != "healthy" else []
    asked += healthy_runs(args.healthy, args.worlds) if args.part != "ill" else []
    asked = [(c, seed) for c, seed in asked if args.only in c.name or args.only in c.illness]
    home = args.folder or Path(tempfile.mkdtemp(prefix="prefine-diagnose-"))
    results: list[dict[str, Any]] = []
    try:
        for case, seed in asked:
            results.append(one := run(case, seed, home))
            wanted = one["illness"] or "nothing"
            right = one["named"][:1] == ([one["illness"]] if one["illness"] else [])
            print(
                f"{'ok   ' if right else 'WRONG'} {one['cpu_seconds']:5.1f} s  world {seed}  "
                f"{case.name}: {wanted} -> {', '.join(one['named']) or 'nothing'}",
                flush=True,
            )
    finally:
        if args.folder is None:
            shutil.rmtree(home, ignore_errors=True)
    story = {
        "command": "make bench-diagnose",
        "worlds": args.worlds,
        "made_on_worlds": DEVELOPMENT,
        "goals": {"named_first": 0.9, "false_alarms": 0.05},
        **summary(results),
        "sentences_before": {str(seed): sentences(world(seed).model, seed) for seed in args.worlds},
        "cpu_seconds": round(sum(result["cpu_seconds"] for result in results), 1),
        "versions": {name: importlib.metadata.version(name) for name in ("prefine", "torch")}
        | {"python": platform.python_version()},
        "runs": results,
    }
    write_json(args.out, story, indent=1)
    for name in SHARES:
        stat = story[name]
        if not stat["n"]:
            continue
        print(f"{name}: {stat['value']:.3f} [{stat['low']:.3f}, {stat['high']:.3f}] of {stat['n']}")


if __name__ == "__main__":
    main()
