"""Which factor of a recipe matters, on the word world: all combinations, several seeds.

- data: annotators who are wrong in 3 labels of 100, or in 30;
- algorithm: DPO on their pairs, or rounds of the policy's own answers, judged by a reward model;
- reward: that model learnt from 60 of their pairs, or from 600; DPO does without;
- prompts: about things of the kind that is asked about in the end, or of the other kind.

A policy is worth what its answers are: their gold reward where they are grammatical, and nothing
where not. Every run has the same start and as many steps.
"""

import argparse
import csv
import json
import platform
import sys
import tempfile
from itertools import product
from pathlib import Path

import torch

from prefine.evaluation import read_runs
from prefine.ledger.answers import ask
from prefine.ledger.base_model import BRIEFLY, BaseSettings, base_model
from prefine.ledger.worlds import grammar, words
from prefine.ledger.worlds.annotators import Annotator, preferences
from prefine.recipes.rounds import Rounds, run_rounds
from prefine.records import Record, Records, Source, load
from prefine.records.message import Message
from prefine.report.canvas import on_white
from prefine.report.figures import bars
from prefine.statistics import factorial
from prefine.storage import atomic_text, write_json
from prefine.training.config import RunConfig
from prefine.training.run import train

PAIRS, ASKED, HELD_OUT, SAMPLES, BATCH, STEPS, ROUNDS = 600, 200, 200, 4, 64, 36, 3
SEEDS, RATE, REWARD_RATE, BETA = range(5), 1e-3, 3e-3, 0.5

LEVELS = {
    "data": ("clean", "noisy"),
    "algorithm": ("dpo", "rounds"),
    "reward": ("of 60 pairs", "of 600 pairs"),
    "prompts": ("of another kind", "of the same kind"),
}
FLIPS = {"clean": 0.03, "noisy": 0.3}
LEARNT = {"of 60 pairs": 60, "of 600 pairs": PAIRS}


def main() -> None:
    """Run every combination; what was measured before is not measured again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "factors")
    parser.add_argument("--out", type=Path, default=Path("docs/results/recipe-factors.csv"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    runs = [
        {**dict(zip(LEVELS, levels, strict=True)), "seed": seed,
         "worth": round(_worth(args.folder, *levels, seed), 4)}
        for seed in SEEDS
        for levels in product(*LEVELS.values())
    ]  # fmt: skip
    with atomic_text(args.out) as handle:
        table = csv.DictWriter(handle, [*LEVELS, "seed", "worth"], lineterminator="\n")
        table.writeheader()
        table.writerows(runs)
    read = read_runs(args.out, list(LEVELS), "worth")
    found = factorial(read.runs, read.levels, outcome="worth")
    write_json(args.out.with_suffix(".json"), {
        "command": "make bench-factors",
        "python": platform.python_version(), "torch": torch.__version__,
        "data": f"{PAIRS} pairs of answers to as many prompts; {STEPS} steps of {BATCH} pairs; "
        f"measured on {SAMPLES} answers to each of {HELD_OUT} other prompts",
        "effects": {
            name: {str(level): stat.to_json() for level, stat in effects.items()}
            for name, effects in found.effects.items()
        },
        "shares": {name: stat.to_json() for name, stat in found.shares.items()},
        "spread": {name: stat.to_json() for name, stat in found.spread.items()},
    })  # fmt: skip
    shown = {
        f"{level} data" if name == "data" else f"{name}: {level}": stat
        for name, effects in found.effects.items()
        for level, stat in effects.items()
    }
    with atomic_text(args.out.with_suffix(".svg")) as handle:
        handle.write(on_white(bars(shown, xlabel="effect on worth").svg) + "\n")


def _worth(folder: Path, data: str, algorithm: str, reward: str, prompts: str, seed: int) -> float:
    """Train a combination and measure it, or read what was measured."""
    said = [data, algorithm, *([] if algorithm == "dpo" else [reward]), prompts]
    place = folder / str(seed) / "-".join(said).replace(" ", "_")
    measured = place / "measured.json"
    if not measured.is_file():
        print(f"seed {seed}: {', '.join(said)}", file=sys.stderr, flush=True)
        train_on, held_out, base = _world(prompts, seed)
        pairs = _pairs(folder, data, prompts, seed, train_on, base)
        if algorithm == "dpo":
            model = _train(place, "dpo", base, pairs, seed)
        else:
            judge = _judge(folder, data, reward, prompts, base, pairs, seed)
            model = _rounds(place, judge, base, train_on[:ASKED], seed)
        answers = ask("policy", model, held_out, SAMPLES, seed)
        worth = answers.measure("gold") * answers.measure("validity")
        write_json(measured, {"worth": float(worth.mean())})
    return json.loads(measured.read_text(encoding="utf-8"))["worth"]


def _world(prompts: str, seed: int) -> tuple[list[str], list[str], str]:
    """Prompts to train on, prompts about lifeless things to be measured on, and the start."""
    asked = words.prompts(4_200, seed)
    base = str(base_model(asked[:1_500], seed, BaseSettings()))
    lifeless = [p for p in asked if set(words.asked(p)) <= set(grammar.LIFELESS)]
    living = [p for p in asked if set(words.asked(p)) <= set(grammar.LIVING)]
    pool = lifeless[HELD_OUT:] if prompts == "of the same kind" else living
    return pool[:PAIRS], lifeless[:HELD_OUT], base


def _pairs(
    folder: Path, data: str, prompts: str, seed: int, asked: list[str], base: str
) -> Records:
    path = folder / str(seed) / f"pairs-{data}-{prompts.replace(' ', '_')}.jsonl"
    if not path.is_file():
        answers = ask("sft", base, asked, 2, seed)
        shown = [(first, second) for first, second in answers.texts]
        judged = preferences(asked, shown, seed, [Annotator("ann", FLIPS[data])])
        Records.of(pair.record(row) for row, pair in enumerate(judged)).save(path)
    return load(path)


def _train(place: Path, objective: str, base: str, pairs: Records, seed: int) -> str:
    """Train on pairs for as many steps as all; return the model's folder."""
    data = place / "pairs.jsonl"
    pairs.save(data)
    reward = objective == "reward"
    config = RunConfig(
        objective=objective, options={} if reward else {"beta": BETA}, model=base, seed=seed,
        data=str(data), out=str(place / "run"), holdout=0,
        training={
            **BRIEFLY, "max_steps": STEPS, "per_device_train_batch_size": BATCH,
            "learning_rate": REWARD_RATE if reward else RATE,
        },
    )  # fmt: skip
    if not (place / "run" / "summary.json").is_file():
        train(config, quiet=True)
    return str(place / "run" / "model")


def _judge(
    folder: Path, data: str, reward: str, prompts: str, base: str, pairs: Records, seed: int
) -> str:
    place = folder / str(seed) / "-".join([data, reward, prompts, "judge"]).replace(" ", "_")
    some = Records.of(record for n, record in enumerate(pairs) if n < LEARNT[reward])
    return _train(place, "reward", base, some, seed)


def _rounds(place: Path, judge: str, base: str, asked: list[str], seed: int) -> str:
    what = Rounds(
        model=base, judge=judge, rounds=ROUNDS, responses=4, seed=seed, max_new_tokens=32,
        settings={
            "options": {"beta": BETA},
            "training": {
                **BRIEFLY, "max_steps": STEPS // ROUNDS, "learning_rate": RATE,
                "per_device_train_batch_size": BATCH,
            },
        },
    )  # fmt: skip
    records = Records.of(
        Record(
            source=Source("word world", row=row), context=(Message("user", prompt),), candidates=()
        )
        for row, prompt in enumerate(asked)
    )
    return run_rounds(records, what, place / "rounds", resume=(place / "rounds").exists())


if __name__ == "__main__":
    main()
