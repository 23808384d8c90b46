"""How often `prefine compare-objectives` names a winner: where there is none, and where there is.

Tables of 40 prompts with eight responses, whose gold reward is known: what a policy earns is
computed, not sampled. Each repetition is a whole study: three objectives with two trials each, the
best trial by half of the prompts, three fresh seeds of it (each with pairs of its own) on the other
half, and the decision. In the first condition all three are DPO, so any winner is wrong. In the
second one of them reads clean labels, while those of the others are partly turned around.
"""

import argparse
import platform
import sys
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from prefine.ledger.descend import descend
from prefine.ledger.worlds.tabular import Tabular
from prefine.objectives import dpo
from prefine.recipes.choice import choose
from prefine.recipes.trials import between, places
from prefine.statistics import wilson
from prefine.storage import write_json

PROMPTS, RESPONSES, PAIRS, STEPS, BATCH = 40, 8, 1_500, 60, 128
TRIALS, SEEDS, RATES, STRENGTHS = 2, 3, (0.05, 0.3), (0.1, 1.0)
NAMES = ("one", "two", "three")
CONDITIONS = {
    "no difference": (0.1, 0.1, 0.1),
    "a difference": (0.0, 0.25, 0.25),
}
"""Share of labels turned around, for each objective."""


def trained(world: Tabular, flips: float, rate: float, beta: float, seed: int) -> torch.Tensor:
    """Return the [X] expected gold rewards of a policy trained on pairs of its own."""
    generator = torch.Generator().manual_seed(seed)
    pairs = world.some_pairs(PAIRS, generator, flips=flips)

    def scores(logits: torch.Tensor, at: torch.Tensor) -> Any:
        return world.scores(logits.log_softmax(-1), pairs.take(at))

    logits = descend(
        partial(dpo, beta=beta), scores, world.reference, len(pairs),
        steps=STEPS, batch=BATCH, rate=rate, seed=seed,
    )  # fmt: skip
    return (logits.softmax(-1) * world.reward).sum(-1)


def study(job: tuple[str, int]) -> tuple[str, str | None, str | None]:
    """Run one study; return its winner, and the one that it had without Holm's correction."""
    condition, repetition = job
    torch.set_num_threads(1)
    world = Tabular.drawn(10_000 + repetition, prompts=PROMPTS, responses=RESPONSES)
    half = PROMPTS // 2
    values: dict[str, Any] = {}
    for n, (name, flips) in enumerate(zip(NAMES, CONDITIONS[condition], strict=True)):
        start = 1_000_000 + 1_000 * repetition + 100 * n
        settings = [(between(RATES, x), between(STRENGTHS, y)) for x, y in places(TRIALS)]
        tried = [
            float(trained(world, flips, *each, start + k)[:half].mean())
            for k, each in enumerate(settings)
        ]
        best = settings[max(range(TRIALS), key=tried.__getitem__)]
        values[name] = torch.stack(
            [trained(world, flips, *best, start + 50 + seed)[half:] for seed in range(SEEDS)]
        ).numpy()
    return condition, choose(values).winner, choose(values, corrected=False).winner


def main() -> None:
    """Run both conditions."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=400)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("docs/results/choosing.json"))
    args = parser.parse_args()
    jobs = [(condition, n) for condition in CONDITIONS for n in range(args.repetitions)]
    winners: dict[str, list[str | None]] = {condition: [] for condition in CONDITIONS}
    raw: dict[str, list[str | None]] = {condition: [] for condition in CONDITIONS}
    with get_context("spawn").Pool(args.processes) as pool:
        for done, (condition, winner, uncorrected) in enumerate(
            pool.imap_unordered(study, jobs, 8), start=1
        ):
            winners[condition].append(winner)
            raw[condition].append(uncorrected)
            if done % 50 == 0:
                print(f"{done} of {len(jobs)}", file=sys.stderr, flush=True)
    told = {
        "command": "make bench-choosing",
        "python": platform.python_version(), "torch": torch.__version__,
        "settings": {
            "prompts": PROMPTS, "responses": RESPONSES, "pairs": PAIRS, "steps": STEPS,
            "trials": TRIALS, "seeds": SEEDS, "objectives": len(NAMES), "flips": CONDITIONS,
        },
        "no winner where none differs": share(winners["no difference"], None),
        "no winner where none differs, without Holm": share(raw["no difference"], None),
        "the better one found": share(winners["a difference"], "one"),
        "a wrong one named": wilson(
            sum(w in ("two", "three") for w in winners["a difference"]), args.repetitions
        ).to_json(),
    }  # fmt: skip
    write_json(args.out, told)
    print({key: value for key, value in told.items() if isinstance(value, dict)}, file=sys.stderr)


def share(winners: list[str | None], wanted: str | None) -> dict[str, Any]:
    """Return how often a winner was this, with Wilson's interval."""
    return wilson(sum(winner == wanted for winner in winners), len(winners)).to_json()


if __name__ == "__main__":
    main()
