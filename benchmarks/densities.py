"""Points in the plane: every objective for denoising models against the exact answer.

Pairs, lists and single points come from the data itself; people prefer what lies to the right
(Bradley-Terry on a linear reward). The exact answer is the data tilted by that reward. Beside each
objective stand imitation of the winners, which is a strong baseline in two dimensions, and the same
objective on labels that were shuffled, which must gain nothing.

Arms with captions start from a flow that has seen captions which said nothing. People either
compare two points under one caption, or two captions of one point; samples are judged turned by
their caption, so that the exact answer is the same.
"""

import argparse
import json
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import torch

from prefine.adapters.rectified_flow import RectifiedFlow
from prefine.ledger.align import align
from prefine.ledger.worlds import densities as world
from prefine.objectives.registry import build
from prefine.statistics import t_interval
from prefine.storage import write_json

SLOPE = torch.tensor([2.0, 0.0], dtype=torch.float64)
ROWS, STEPS, BATCH, SAMPLES = 20_000, 400, 256, 4_000
REWARD_ERROR = 1.0
"""Standard deviation of the error of the rewards that `smoothed_dpo` is told."""


@dataclass(frozen=True)
class Arm:
    """An objective and how it is run.

    Attributes:
        objective: Name, with options.
        width: Points of a row.
        rate: Learning rate.
        adapter: Options of the adapter.
        flips: Share of pairs whose label is wrong.
        shuffled: Whether labels are a coin.
        captions: Whether points have captions, `given`, and whether these are what is `compared`.
    """

    objective: str
    options: dict[str, Any] = field(default_factory=dict)
    width: int = 2
    rate: float = 5e-4
    adapter: dict[str, Any] = field(default_factory=dict)
    flips: float = 0.0
    shuffled: bool = False
    captions: Literal["none", "given", "compared"] = "none"


ARMS = {
    "imitation of winners": Arm("sft", width=1),
    "imitation, shuffled": Arm("sft", width=1, shuffled=True),
    "dpo": Arm("dpo", {"beta": 5.0}),
    "dpo, shuffled": Arm("dpo", {"beta": 5.0}, shuffled=True),
    "dpo, own noise": Arm("dpo", {"beta": 5.0}, adapter={"noise": "own"}),
    "dpo, (1-t)^2": Arm("dpo", {"beta": 15.0}, adapter={"time_weight": "(1-t)^2"}),
    "dpo, inverted noise": Arm("dpo", {"beta": 30.0}, adapter={"noise": "inverted"}),
    "ipo": Arm("ipo", {"tau": 0.5, "average": False}),
    "diffusion_kto": Arm("diffusion_kto", {"beta": 5.0}, width=1),
    "diffusion_kto, shuffled": Arm("diffusion_kto", {"beta": 5.0}, width=1, shuffled=True),
    "mapo": Arm("mapo", {"temperature": 30.0}),
    "plackett_luce, 4": Arm("plackett_luce", {"beta": 5.0}, width=4),
    "rank_dpo, 4": Arm("lipo", {"beta": 5.0, "rank_by": "labels"}, width=4),
    "dpo, 30% flipped": Arm("dpo", {"beta": 5.0}, flips=0.3),
    "robust_dpo, 30% flipped": Arm("robust_dpo", {"beta": 5.0, "label_noise": 0.3}, flips=0.3),
    "robust_em, 30% flipped": Arm(
        "robust_em", {"loss": {"name": "dpo", "beta": 5.0}, "num_raters": 1}, flips=0.3
    ),
    "smoothed_dpo, 30% flipped": Arm("smoothed_dpo", {"beta": 7.0, "gamma": 4.0}, flips=0.3),
    "reward_weighted": Arm("reward_weighted", {"largest": 100.0}, width=1),
    "kto": Arm("kto", {"beta": 5.0}, width=1, captions="given"),
    "kto, shuffled": Arm("kto", {"beta": 5.0}, width=1, captions="given", shuffled=True),
    "imitation of liked captions": Arm("sft", width=1, captions="compared"),
    "text_dpo": Arm("clipped_dpo", {"beta": 1.0, "floor": 1.0}, captions="compared"),
    "text_dpo, shuffled": Arm(
        "clipped_dpo", {"beta": 1.0, "floor": 1.0}, captions="compared", shuffled=True
    ),
    "text_kto": Arm("diffusion_kto", {"beta": 5.0}, width=1, captions="compared"),
}
"""Arms whose exact answer is the tilted mixture; strengths were chosen on seeds 100 and above."""


def rows_of(arm: Arm, seed: int) -> list[dict[str, Any]]:
    """Rows of an arm, with labels, utilities and order as it takes them."""
    generator = torch.Generator().manual_seed(1000 + seed)
    if arm.captions != "none":
        return _captioned_rows(arm, generator)
    points = world.clouds().sample(ROWS * arm.width, generator).view(ROWS, arm.width, 2)
    if arm.objective in ("sft", "diffusion_kto"):  # winners, or both, of pairs
        other = world.clouds().sample(ROWS, generator)[:, None]
        both = world.preferred(torch.cat([points, other], 1), SLOPE, generator)
        if arm.shuffled:
            both = _shuffled(both, generator)
        if arm.objective == "sft":
            return list(world.rows(both[:, :1]))
        made = list(world.rows(both.reshape(-1, 1, 2)[: 2 * ROWS]))
        return [row | {"label": [at % 2 == 0]} for at, row in enumerate(made)]
    reward = (points @ SLOPE) / 4 + 0.5  # about [0, 1]
    if arm.width == 1:
        return list(world.rows(points, lambda x: x @ SLOPE))
    if arm.width > 2:
        noise = -torch.empty_like(reward).exponential_(generator=generator).log()
        order = (points @ SLOPE + noise).argsort(1, descending=True)  # Plackett-Luce
        best = points[torch.arange(ROWS)[:, None], order]
        made = list(world.rows(best))
        places = [float(v) for v in torch.linspace(1, 0, arm.width)]
        return [row | {"utility": places} for row in made]
    pairs = world.preferred(points, SLOPE, generator)
    if arm.shuffled:
        pairs = _shuffled(pairs, generator)
    if arm.flips:
        wrong = torch.rand(ROWS, generator=generator) < arm.flips
        pairs = torch.where(wrong[:, None, None], pairs.flip(1), pairs)
    error = REWARD_ERROR * torch.randn(ROWS, 2, generator=generator, dtype=points.dtype)
    return list(world.rows(pairs, lambda x: (x @ SLOPE + error) / 4 + 0.5))


def _captioned_rows(arm: Arm, generator: torch.Generator) -> list[dict[str, Any]]:
    """Rows whose items are a point and a caption, the better of two first."""
    points = world.clouds().sample(2 * ROWS, generator).view(ROWS, 2, 2)
    labels = world.coin(ROWS, generator)[:, None].repeat(1, 2)
    if arm.captions == "compared":
        points, labels = (
            points[:, :1].repeat(1, 2, 1),
            torch.stack([labels[:, 0], 1 - labels[:, 1]], 1),
        )
    reward = world.turned(points, labels) @ SLOPE
    better = torch.sigmoid(reward[:, 0] - reward[:, 1])
    if arm.shuffled:
        better = torch.full_like(better, 0.5)
    first = torch.rand(ROWS, generator=generator, dtype=better.dtype) < better
    points = torch.where(first[:, None, None], points, points.flip(1))
    labels = torch.where(first[:, None], labels, labels.flip(1))
    if arm.width == 2:
        return list(world.rows(points, labels=labels))
    if arm.objective == "sft":
        return list(world.rows(points[:, :1], labels=labels[:, :1]))
    points, labels = points.reshape(-1, 1, 2), labels.reshape(-1, 1)
    if arm.objective == "kto":  # beside its own point, each caption has one of another row
        other = points[torch.randperm(len(points), generator=generator)]
        points, labels = torch.cat([points, other], 1), labels.repeat(1, 2)
        made = list(world.rows(points, roles=("response", "mismatched"), labels=labels))
    else:
        made = list(world.rows(points, labels=labels))
    return [
        row | {"label": [at % 2 == 0, None][: len(row["roles"])]} for at, row in enumerate(made)
    ]


def _shuffled(pairs: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    coin = torch.rand(len(pairs), generator=generator) < 0.5
    return torch.where(coin[:, None, None], pairs.flip(1), pairs)


def run(job: tuple[str, int, int]) -> dict[str, Any]:
    """One arm on one seed: what its samples look like beside the exact answer."""
    name, seed, base_steps = job
    torch.set_num_threads(1)
    arm = ARMS[name]
    captioned = arm.captions != "none"
    base = world.base_flow(seed, steps=base_steps, captioned=captioned)
    target = world.clouds().tilted(SLOPE, 1.0)
    adapter = RectifiedFlow(**arm.adapter)
    last: list[dict[str, Any]] = []
    made = align(
        base, adapter, build(arm.objective, arm.options), rows_of(arm, seed), steps=STEPS,
        batch_size=BATCH, learning_rate=arm.rate, seed=seed, on_step=last.append,
    )  # fmt: skip
    found = {}
    for who, model in (("base", base), ("aligned", made)):
        generator = torch.Generator().manual_seed(seed)
        label = world.coin(SAMPLES, generator) if captioned else None
        points = world.flow_samples(model.eval(), SAMPLES, generator, label=label)
        points = points if label is None else world.turned(points, label)
        found[who] = asdict(world.Share.of(points, target, generator))
    errors = {k: v for k, v in last[-1].items() if k.startswith("errors/")}
    return {"arm": name, "seed": seed, **found, "errors": errors}


def summary(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Mean and t interval over seeds of every arm."""
    found: dict[str, Any] = {}
    for name in dict.fromkeys(one["arm"] for one in results):
        of = [one for one in results if one["arm"] == name]
        found[name] = {
            key: t_interval([one["aligned"][key] for one in of]).to_json()
            for key in ("right", "near", "distance")
        }
    for name, captioned in (("base", False), ("base, captions", True)):
        base = {
            one["seed"]: one["base"]
            for one in results
            if (ARMS[one["arm"]].captions != "none") == captioned
        }
        if base:
            found[name] = {
                key: t_interval([one[key] for one in base.values()]).to_json()
                for key in ("right", "near", "distance")
            }
    return found


def main() -> None:
    """Run all arms on several seeds, in two processes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--arm", action="append", choices=ARMS)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("docs/results/densities.json"))
    args = parser.parse_args()
    seeds = range(args.first_seed, args.first_seed + args.seeds)
    jobs = [(name, seed, 3000) for seed in seeds for name in args.arm or ARMS]
    results: list[dict[str, Any]] = _earlier(args.out)
    done = {(one["arm"], one["seed"]) for one in results}
    jobs = [job for job in jobs if job[:2] not in done]
    with get_context("spawn").Pool(args.processes) as pool:
        for made in pool.imap_unordered(run, jobs):
            results.append(made)
            said = {key: round(value, 3) for key, value in made["aligned"].items()}
            print(f"{made['arm']}, seed {made['seed']}: {said}", file=sys.stderr, flush=True)
            _write(args.out, results)


def _earlier(path: Path) -> list[dict[str, Any]]:
    """Runs of an earlier call that was cut off, unless an arm was changed since."""
    if not path.exists():
        return []
    held = json.loads(path.read_text(encoding="utf-8"))
    arms = {name: Arm(**kept) for name, kept in held["arms"].items()}
    same = [name for name in ARMS if arms.get(name) == ARMS[name]]
    return [one for one in held["runs"] if one["arm"] in same]


def _write(path: Path, results: list[dict[str, Any]]) -> None:
    results.sort(key=lambda one: (list(ARMS).index(one["arm"]), one["seed"]))
    target = world.clouds().tilted(SLOPE, 1.0)
    told = {
        "command": "make bench-densities",
        "python": platform.python_version(), "torch": torch.__version__,
        "settings": {"rows": ROWS, "steps": STEPS, "batch": BATCH, "samples": SAMPLES},
        "exact": {"right": target.right_share()},
        "arms": {name: asdict(arm) for name, arm in ARMS.items()},
        "summary": summary(results), "runs": results,
    }  # fmt: skip
    write_json(path, told)


if __name__ == "__main__":
    main()
