"""Rounds of sample, judge, train on the word world, whose truth is known.

Policies learn from answers of their own, fresh ones in each round, or as many of the first model
all at once; by the gold reward, by a coin, or by a reward model that learnt from noisy pairs; from
both answers of a pair, or from the winner alone. Every
arm has as many judged answers and as many steps, at each rate of one grid; where arms are compared,
the rate of each seed is the one that was worth most on the other seeds. A policy is worth what its
answers are: their gold reward where they are grammatical, and nothing where not.
"""

import argparse
import json
import platform
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from prefine.errors import RecordError
from prefine.ledger.answers import ask, divergence
from prefine.ledger.base_model import BRIEFLY, BaseSettings, base_model
from prefine.ledger.demo_seed import noisy_pairs
from prefine.ledger.worlds import words
from prefine.recipes.rounds import Rounds, run_rounds
from prefine.records import Record, Records, Source
from prefine.records.message import Message
from prefine.report.canvas import on_white
from prefine.report.figures import clouds
from prefine.statistics import t_interval
from prefine.storage import atomic_text, write_json
from prefine.training.config import RunConfig
from prefine.training.run import train

PROMPTS, HELD_OUT, ANSWERS, STEPS, BATCH, SAMPLES = 300, 200, 16, 72, 64, 4
SEEDS, RATES = range(5), (3e-4, 1e-3, 3e-3)
GOLD, COIN, LEARNT = "planted_rewards:gold", "planted_rewards:coin", "learnt"
DPO: Mapping[str, Any] = {"objective": "dpo", "options": {"beta": 0.5}}
IPO: Mapping[str, Any] = {"objective": "ipo", "options": {"tau": 0.125, "average": False}}
"""On sums, as its paper has it; near even labels it asks for the gaps that `dpo` asks for here."""
WINNER: Mapping[str, Any] = {"objective": "planted_losses:winner", "options": {}, "soft": False}

ARMS: Mapping[str, Mapping[str, Any]] = {
    "dpo, at once": {**DPO, "rounds": 1},
    "dpo, in rounds": {**DPO, "rounds": 4},
    "dpo, in rounds, verdicts alone": {**DPO, "rounds": 4, "soft": False},
    "dpo, in rounds, by a coin": {**DPO, "rounds": 4, "judge": COIN},
    "dpo, in rounds, by a learnt reward": {**DPO, "rounds": 4, "judge": LEARNT},
    "dpo, half at once, then in rounds from there": {**DPO, "rounds": 2, "first": 1},
    "winner imitated, at once": {**WINNER, "rounds": 1},
    "winner imitated, in rounds": {**WINNER, "rounds": 4},
    "ipo, at once": {**IPO, "rounds": 1},
    "ipo, in rounds": {**IPO, "rounds": 4},
    "ipo, in rounds, a quarter of the reference draws": {**IPO, "rounds": 4, "mixture": 0.25},
}
"""What differs; all else is the same. With a `first`, half of all goes to one round, whose policy
is the start and the reference of what follows."""

SHOWN = (
    "dpo, at once", "dpo, in rounds", "winner imitated, at once", "winner imitated, in rounds",
)  # fmt: skip
"""Arms in the picture."""

BROKEN: dict[str, Any] = {"broken": True, "worth": 0.0, "validity": 0.0}
"""What is known of a policy whose answers no model can read."""

OF_ALL, OF_MOST = ("worth", "validity"), ("gold", "length", "kl")

AGAINST = {
    "dpo, in rounds": "dpo, at once",
    "dpo, in rounds, verdicts alone": "dpo, in rounds",
    "dpo, in rounds, by a coin": "before",
    "dpo, in rounds, by a learnt reward": "dpo, in rounds",
    "dpo, half at once, then in rounds from there": "dpo, in rounds",
    "winner imitated, at once": "dpo, at once",
    "winner imitated, in rounds": "dpo, in rounds",
    "ipo, in rounds": "ipo, at once",
    "ipo, in rounds, a quarter of the reference draws": "ipo, in rounds",
}
"""What is compared with what, seed by seed."""


def main() -> None:
    """Run all arms, rates and seeds; what was measured before is not measured again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "rounds")
    parser.add_argument("--out", type=Path, default=Path("docs/results/rounds.json"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    sys.path.insert(0, str(Path(__file__).parent))
    runs = {
        name: {rate: [_arm(args.folder, name, rate, seed) for seed in SEEDS] for rate in RATES}
        for name in ARMS
    }
    tuned = {name: [_tuned(of, at) for at in range(len(SEEDS))] for name, of in runs.items()}
    tuned["before"] = [_before(args.folder, seed) for seed in SEEDS]
    write_json(args.out, {
        "command": "make bench-rounds",
        "python": platform.python_version(), "torch": torch.__version__,
        "data": f"{PROMPTS} prompts, {ANSWERS} judged answers to each and {STEPS} steps of {BATCH} "
        f"pairs in every arm; measured on {SAMPLES} answers to each of {HELD_OUT} other prompts",
        "each rate": {
            name: {f"{rate:g}": _over_seeds(of[rate]) for rate in RATES}
            for name, of in runs.items()
        },
        "rate from the other seeds": {name: _over_seeds(rows) for name, rows in tuned.items()},
        "differences of worth": {
            f"{one} - {other}": t_interval(
                [a["worth"] - b["worth"] for a, b in zip(tuned[one], tuned[other], strict=True)]
            ).to_json()
            for one, other in AGAINST.items()
        },
    })  # fmt: skip
    shown = {name: [(run["kl"], run["worth"]) for of in runs[name].values() for run in of
                    if not run["broken"]] for name in SHOWN}  # fmt: skip
    drawn = clouds(shown, xlabel="KL from the start, nats", ylabel="worth")
    with atomic_text(args.out.with_suffix(".svg")) as handle:
        handle.write(on_white(drawn.svg) + "\n")


def _tuned(runs: Mapping[float, Sequence[dict[str, float]]], at: int) -> dict[str, float]:
    """A seed's run at the rate whose policies of the other seeds are worth most."""

    def elsewhere(rate: float) -> float:
        return sum(run["worth"] for n, run in enumerate(runs[rate]) if n != at)

    return runs[max(RATES, key=elsewhere)][at]


def _over_seeds(rows: Sequence[dict[str, float]]) -> dict[str, Any]:
    """Means over seeds; what a broken policy has none of is left out of them and counted."""
    known = [row for row in rows if not row["broken"]]
    found = {"broken": len(rows) - len(known)}
    found |= {name: t_interval([row[name] for row in rows]).to_json() for name in OF_ALL}
    if len(known) > 1:
        found |= {name: t_interval([row[name] for row in known]).to_json() for name in OF_MOST}
    return found


def _arm(folder: Path, name: str, rate: float, seed: int) -> dict[str, float]:
    """Train and measure a policy, or read what was measured."""
    place = folder / f"{name.replace(', ', '-').replace(' ', '_')}-{rate:g}-{seed}"
    measured = place / "measured.json"
    if not measured.is_file():
        print(f"{name}, rate {rate:g}, seed {seed}", file=sys.stderr, flush=True)
        training, _, model = _world(seed)
        arm = dict(ARMS[name])
        judge = arm.pop("judge", GOLD)
        judge = _reward(folder, seed) if judge == LEARNT else judge
        counts = [arm.pop("first"), arm.pop("rounds")] if "first" in arm else [arm.pop("rounds")]
        options, last = arm.pop("options"), model
        for part, rounds in enumerate(counts):
            share = len(counts) * rounds
            what = Rounds(
                model=last, rounds=rounds, responses=ANSWERS // share, seed=seed + 50 * part,
                max_new_tokens=32, judge=judge,
                settings={
                    "options": options,
                    "training": {
                        **BRIEFLY, "max_steps": STEPS // share, "learning_rate": rate,
                        "per_device_train_batch_size": BATCH,
                    },
                },
                **arm,
            )  # fmt: skip
            out = place / ("rounds" if part == len(counts) - 1 else "first")
            try:
                last = run_rounds(_asked(training), what, out, resume=out.exists())
            except RecordError as error:  # nothing that it answers can be read
                print(error, file=sys.stderr)
                write_json(measured, BROKEN)
                return BROKEN
        write_json(measured, _measure(last, seed))
    return json.loads(measured.read_text(encoding="utf-8"))


def _reward(folder: Path, seed: int) -> str:
    """The folder of a reward model that learnt from noisy pairs of the first model's answers."""
    place = folder / f"reward-{seed}"
    if not (place / "run" / "summary.json").is_file():
        shutil.rmtree(place, ignore_errors=True)
        training, _, model = _world(seed)
        pairs = noisy_pairs(ask("sft", model, training, ANSWERS, seed), seed)
        data = place / "pairs.jsonl"
        Records.of(pair.record(row) for row, pair in enumerate(pairs)).save(data)
        config = RunConfig(
            objective="reward", model=model, data=str(data), out=str(place / "run"), seed=seed,
            holdout=0,
            training={
                **BRIEFLY, "learning_rate": 3e-3, "per_device_train_batch_size": BATCH,
            },
        )  # fmt: skip
        train(config, quiet=True)
    return str(place / "run" / "model")


def _before(folder: Path, seed: int) -> dict[str, float]:
    measured = folder / f"before-{seed}.json"
    if not measured.is_file():
        write_json(measured, _measure(_world(seed)[2], seed))
    return json.loads(measured.read_text(encoding="utf-8"))


def _world(seed: int) -> tuple[list[str], list[str], str]:
    """Prompts to learn on, others to be measured on, and the model of a seed."""
    asked = words.prompts(PROMPTS + HELD_OUT, seed)
    model = base_model(asked[:PROMPTS], seed, BaseSettings())
    return asked[:PROMPTS], asked[PROMPTS:], str(model)


def _asked(prompts: list[str]) -> Records:
    return Records.of(
        Record(
            source=Source("word world", row=row), context=(Message("user", prompt),), candidates=()
        )
        for row, prompt in enumerate(prompts)
    )


def _measure(model: str, seed: int) -> dict[str, float]:
    _, held_out, base = _world(seed)
    answers = ask("policy", model, held_out, SAMPLES, seed)
    each = {name: answers.measure(name) for name in ("gold", "validity", "length")}
    each["worth"] = each["gold"] * each["validity"]
    found = {name: float(of.mean()) for name, of in each.items()}
    try:
        nats, _ = divergence(answers, model, base)
    except RecordError as error:
        print(error, file=sys.stderr)
        return BROKEN
    return {"broken": False, **found, "kl": float(nats.mean())}


if __name__ == "__main__":
    main()
