"""Whether `stop_early` stops when it should: runs of DPO on the word world, whose truth is known.

Every run goes on to its end and leaves a model at each evaluation, whose answers are measured
against the truth; then each rule reads the run's metrics, as it would have done beside it. A run is
worth what its answers are: their gold reward where they are grammatical, and nothing where not.
"""

import argparse
import json
import platform
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from prefine.ledger.answers import ask
from prefine.ledger.base_model import BRIEFLY, BaseSettings, base_model
from prefine.ledger.demo_seed import noisy_pairs
from prefine.ledger.worlds import words
from prefine.ledger.worlds.annotators import Comparison, shuffled
from prefine.records import Records
from prefine.report.canvas import SERIES, draw, on_white
from prefine.runs import CHECKPOINT, RunFolder
from prefine.statistics import t_interval, wilson
from prefine.storage import atomic_text, write_json
from prefine.training.config import RunConfig
from prefine.training.run import train
from prefine.training.stop_rules import RULES

PROMPTS, WATCHED, HELD_OUT, SAMPLES, BATCH, EVALUATIONS = 1_500, 200, 100, 4, 64, 20
SEEDS, WINDOWS = range(5), (3, 5)

CASES: Mapping[str, Mapping[str, Any]] = {
    "one pass, tight": {"pairs": 1_500, "epochs": 1, "beta": 0.5, "rate": 3e-4},
    "one pass, loose": {"pairs": 1_500, "epochs": 1, "beta": 0.05, "rate": 1e-3},
    "many passes, few pairs": {"pairs": 200, "epochs": 40, "beta": 0.1, "rate": 1e-3},
    "too large a rate": {"pairs": 1_500, "epochs": 2, "beta": 0.02, "rate": 3e-3},
    "labels dealt anew": {"pairs": 200, "epochs": 40, "beta": 0.1, "rate": 1e-3, "dealt": True},
}
"""How far each kind of run goes."""


def main() -> None:
    """Run all cases and seeds; what was measured before is not measured again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "stopping")
    parser.add_argument("--out", type=Path, default=Path("docs/results/stopping.json"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    runs = {name: [_run(args.folder, name, seed) for seed in SEEDS] for name in CASES}
    told = {
        f"by {by}, window {window}": {name: _told(of, by, window) for name, of in runs.items()}
        for by in RULES
        for window in WINDOWS
    }
    write_json(args.out, {
        "command": "make bench-stopping",
        "python": platform.python_version(), "torch": torch.__version__,
        "data": f"pairs of a language model's answers to {PROMPTS} prompts, judged by annotators "
        f"of whom 2, 10 and 20 labels in 100 are flipped; {EVALUATIONS} evaluations a run; "
        f"measured on {SAMPLES} answers to each of {HELD_OUT} other prompts",
        "cases": {name: dict(case) for name, case in CASES.items()},
        "seeds": len(SEEDS), **told,
        "worth of each step": {name: [run["worth"] for run in of] for name, of in runs.items()},
    })  # fmt: skip
    with atomic_text(args.out.with_suffix(".svg")) as handle:
        handle.write(on_white(_picture(runs)) + "\n")


def _told(runs: Sequence[Mapping[str, Any]], by: str, window: int) -> dict[str, Any]:
    """What a rule did in the runs of a case, and what it was worth."""
    end, best, gone, kept = [], [], [], []
    for run in runs:
        worth, step = _worth(run), _back_to(run, by, window)
        taken = worth[max(worth) if step is None else step]
        end.append(taken - worth[max(worth)])
        best.append(taken - max(worth.values()))
        kept.append(worth[max(worth)] - worth[0])
        if step is not None:
            gone.append(taken > worth[max(worth)])
    return {
        "alarms": wilson(len(gone), len(runs)).to_json(),
        "alarms after which the end was worse": sum(gone),
        "worth of the end less that of the start": t_interval(kept).to_json(),
        "worth taken less that of the end": t_interval(end).to_json(),
        "worth taken less that of the best": t_interval(best).to_json(),
    }


def _worth(run: Mapping[str, Any]) -> dict[int, float]:
    return {int(step): value for step, value in run["worth"].items()}


def _back_to(run: Mapping[str, Any], by: str, window: int) -> int | None:
    """The step from which a rule would have taken the model; None if it gave no alarm."""
    rule = RULES[by](window)
    rule.see_all(run["metrics"])
    return rule.back_to


def _picture(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """A panel for each case: what every run is worth over its steps, and what the rules take."""
    marks = {"loss": ("o", SERIES[0]), "likelihood": ("^", SERIES[1])}

    def paint(panels: Any) -> None:
        for axes, (name, of) in zip(panels, runs.items(), strict=True):
            for run in of:
                worth = _worth(run)
                axes.plot(list(worth), list(worth.values()), color=SERIES[4], linewidth=1)
            for by, (mark, colour) in marks.items():
                took = [(_back_to(run, by, WINDOWS[-1]), _worth(run)) for run in of]
                points = [(step, worth[step]) for step, worth in took if step is not None]
                label = f"taken by {by}, {len(points)} of {len(of)} runs"
                axes.plot(*zip(*points, strict=True) if points else ([], []), mark, color=colour,
                          markersize=5, label=label)  # fmt: skip
            axes.set_title(name, loc="left")
            axes.set(ylabel="worth")
            axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
        panels[-1].set_xlabel("step")

    return draw(paint, width=7.2, height=8.0, panels=len(runs))


def _run(folder: Path, name: str, seed: int) -> dict[str, Any]:
    """Train to the end and measure each checkpoint, or read what was measured."""
    place = folder / f"{name.replace(', ', '-').replace(' ', '_')}-{seed}"
    measured = place / "measured.json"
    if not measured.is_file():
        print(f"{name}, seed {seed}", file=sys.stderr, flush=True)
        asked = words.prompts(PROMPTS + WATCHED + HELD_OUT, seed)
        base = str(base_model(asked[:PROMPTS], seed, BaseSettings()))
        steps = _train(place, CASES[name], base, asked[: PROMPTS + WATCHED], seed)
        models = {0: base} | {step: str(_checkpoint(place, step)) for step in steps}
        answered = {
            step: ask("dpo", model, asked[PROMPTS + WATCHED :], SAMPLES, seed)
            for step, model in models.items()
        }
        worth = {
            step: float((said.measure("gold") * said.measure("validity")).mean())
            for step, said in answered.items()
        }
        write_json(measured, {"worth": worth, "metrics": RunFolder(place / "run").metrics()})
    return json.loads(measured.read_text(encoding="utf-8"))


def _train(
    place: Path, case: Mapping[str, Any], base: str, asked: Sequence[str], seed: int
) -> list[int]:
    """Train a case, watched on the last of the prompts; return the steps that left a model."""
    pairs = noisy_pairs(ask("sft", base, asked, 2, seed), seed)
    some, held_out = pairs[: case["pairs"]], pairs[PROMPTS:]
    some = shuffled(some, seed) if case.get("dealt") else some
    steps = case["epochs"] * (-(-len(some) // BATCH))
    every = max(1, steps // EVALUATIONS)
    train(
        RunConfig(
            objective="dpo", options={"beta": case["beta"]}, model=base, seed=seed,
            data=_save(place / "pairs.jsonl", some), out=str(place / "run"),
            eval_data=_save(place / "held_out.jsonl", held_out),
            training={
                **BRIEFLY, "num_train_epochs": case["epochs"], "learning_rate": case["rate"],
                "per_device_train_batch_size": BATCH, "per_device_eval_batch_size": BATCH,
                "eval_strategy": "steps", "eval_steps": every, "save_strategy": "steps",
                "save_steps": every, "save_total_limit": None, "save_only_model": True,
            },
        ),
        quiet=True,
    )  # fmt: skip
    return [step for step in range(every, steps + 1, every) if _checkpoint(place, step).is_dir()]


def _checkpoint(place: Path, step: int) -> Path:
    return RunFolder(place / "run").checkpoints / f"{CHECKPOINT}{step}"


def _save(path: Path, pairs: Sequence[Comparison]) -> str:
    Records.of(pair.record(row) for row, pair in enumerate(pairs)).save(path)
    return str(path)


if __name__ == "__main__":
    main()
