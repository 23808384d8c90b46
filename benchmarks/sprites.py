"""Sprites: people like large ones, captions say nothing of size. Does the model come to agree?

Every arm is a run of `prefine train` on pairs of sprites under one caption; a rater picks the
larger with probability 0.9. Size, validity and faithfulness to the caption are read off the
pictures exactly. Imitation of the chosen pictures stands beside; labels by coin must change
nothing.
"""

import argparse
import base64
import io
import json
import os
import platform
import sys
import tempfile
from collections.abc import Mapping
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from prefine.ledger.worlds import sprites
from prefine.models.pictures import PictureModel, load_picture_model
from prefine.statistics import t_interval
from prefine.storage import write_json
from prefine.training.config import parse
from prefine.training.run import train

PAIRS, STEPS, BATCH, DRAWN, DENOISING = 2_000, 300, 32, 40, 30
SURE = 0.9
"""Probability that a rater picks the larger sprite."""

ARMS: dict[str, dict[str, Any]] = {
    "imitation": {"objective": "sft", "rate": 1e-4},
    "diffusion_dpo": {"objective": "diffusion_dpo", "options": {"beta": 300.0}, "rate": 1e-5},
    "diffusion_dpo, by coin": {
        "objective": "diffusion_dpo", "options": {"beta": 300.0}, "rate": 1e-5,
    },
    "dpo with imitation": {
        "objective": "rpo", "options": {"beta": 300.0, "likelihood_weight": 300.0}, "rate": 3e-5,
    },
    "diffusion_kto": {"objective": "diffusion_kto", "options": {"beta": 1000.0}, "rate": 1e-5},
    "mapo": {"objective": "mapo", "rate": 5e-5},
}  # fmt: skip
"""Arms, with options and learning rate; both were chosen on seed 100."""


SETTINGS = {
    "pairs": PAIRS, "steps": STEPS, "batch": BATCH, "sure": SURE, "drawn": 16 * DRAWN,
    "denoising": DENOISING,
}  # fmt: skip


def write_pairs(path: Path, seed: int, *, coin: bool) -> None:
    """Write pairs in the shape of Pick-a-Pic."""
    rng = np.random.default_rng(seed)
    with path.open("w", encoding="utf-8") as handle:
        for _ in range(PAIRS):
            caption = str(rng.choice(sprites.CAPTIONS))
            large, small = (sprites.drawn(rng, caption, size) for size in ("large", "small"))
            shown = [large, small] if rng.random() < 0.5 else [small, large]
            best = int(shown[1].size == "large")
            best = best if rng.random() < SURE else 1 - best
            best = int(rng.integers(2)) if coin else best
            row = {"caption": caption, "label_0": 1 - best, "label_1": best}
            row |= {f"jpg_{k}": _png(sprite) for k, sprite in enumerate(shown)}
            handle.write(json.dumps(row) + "\n")


def _png(sprite: sprites.Sprite) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(sprite.pixels()).save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def measured(model: PictureModel, seed: int) -> dict[str, float]:
    """Draw pictures of every caption and read them."""
    captions = [caption for caption in sprites.CAPTIONS for _ in range(DRAWN)]
    seeds = [10_000 * (seed + 1) + at for at in range(len(captions))]
    seen = sprites.look(model.sample(captions, seeds, steps=DENOISING, guidance=1.0))
    valid = seen.valid()
    return {
        "large": float(seen.large()[valid].mean()) if valid.any() else 0.0,
        "valid": float(valid.mean()),
        "as_told": float(seen.as_told(captions).mean()),
    }


def run(seed: int) -> list[dict[str, Any]]:
    """All arms of a seed, from one base model."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        os.environ["PREFINE_CACHE"] = str(home / "cache")
        base = PictureModel(sprites.base_pipeline(seed))
        base.save(home / "base")
        found = [{"arm": "base", "seed": seed, **measured(base, seed)}]
        for name, arm in ARMS.items():
            data = home / "pairs.jsonl"
            write_pairs(data, seed, coin="coin" in name)
            out = home / name.replace(" ", "-").replace(",", "")
            config = parse(
                {
                    "objective": arm["objective"], "options": arm.get("options", {}),
                    "model": str(home / "base"), "data": str(data), "out": str(out), "seed": seed,
                    "holdout": 0.0, "denoising": {"show": 0},
                    "training": {
                        "max_steps": STEPS, "per_device_train_batch_size": BATCH,
                        "learning_rate": arm["rate"], "save_strategy": "no",
                        "eval_strategy": "no",
                    },
                }
            )  # fmt: skip
            train(config, quiet=True)
            found.append(
                {
                    "arm": name,
                    "seed": seed,
                    **measured(load_picture_model(str(out / "model")), seed),
                }
            )
            print(found[-1], file=sys.stderr, flush=True)
    return found


def main() -> None:
    """Run the seeds that an earlier call did not, in two processes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("docs/results/sprites.json"))
    args = parser.parse_args()
    results = _earlier(args.out)
    done = {one["seed"] for one in results}
    seeds = set(range(args.first_seed, args.first_seed + args.seeds)) - done
    with get_context("spawn").Pool(args.processes) as pool:
        for made in pool.imap_unordered(run, sorted(seeds)):
            results = sorted([*results, *made], key=lambda one: one["seed"])
            _write(args.out, results)


def _earlier(path: Path) -> list[dict[str, Any]]:
    """Runs of an earlier call that was cut off, unless something was changed since."""
    held = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    same = held.get("arms") == ARMS and held.get("settings") == SETTINGS
    return held["runs"] if same else []


def _write(path: Path, results: list[dict[str, Any]]) -> None:
    told = {
        "command": "make bench-sprites",
        "python": platform.python_version(), "torch": torch.__version__,
        "settings": SETTINGS,
        "arms": ARMS, "summary": _summary(results), "runs": results,
    }  # fmt: skip
    write_json(path, told)


def _summary(results: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean of each arm, and its paired difference to the base model, over seeds."""
    base = {one["seed"]: one for one in results if one["arm"] == "base"}
    summary: dict[str, Any] = {}
    for name in ("base", *ARMS):
        of = [one for one in results if one["arm"] == name]
        summary[name] = {
            key: {
                "value": t_interval([one[key] for one in of]).to_json(),
                "gain": t_interval([one[key] - base[one["seed"]][key] for one in of]).to_json(),
            }
            for key in ("large", "valid", "as_told")
        }
    return summary


if __name__ == "__main__":
    main()
