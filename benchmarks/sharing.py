"""When it pays to compute a prompt once for all its responses: packed rows with and without.

Both rows hold the same items and go through the same trunk, forward and backward, in turn, so a
busy machine slows both; the head is left out, which does the same on either. The ratio is that of
CPU seconds, without sharing by with it: above 1 sharing is faster. Beside it stands what the
products alone would give, and what `adapters.layout` decides for such a batch.

`make bench-sharing` writes docs/results/sharing.json.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import random
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from prefine.bench import world
from prefine.bench.cases import Case
from prefine.bench.figures import machine, ratio
from prefine.engine import choose_layout
from prefine.engine.cost import training_flops, work_of
from prefine.engine.layout import WORTH_SHARING, Item, PackedItems, pack, saved_share
from prefine.engine.packed import hidden_states
from prefine.engine.tune import tune

PRESETS = {"d4k": 7, "tiny": 15}
"""Models of the benchmark, and how often each point is measured."""

LAYERS = 2
"""All layers are alike, so two stand for all."""

PROMPTS, RESPONSES, COUNTS = (0, 2, 8, 32, 128, 512), (16, 64, 256), (1, 2, 4, 8)
LEAST, MOST = 512, 5000
"""Tokens without sharing: batches have prompts enough for the least; points beyond the most are
left out, since they have prompts that save much."""


@dataclass(frozen=True, slots=True)
class Point:
    """A batch of equal prompts and responses.

    Attributes:
        prompt: Tokens of a prompt.
        response: Tokens of a response.
        responses: Responses of a prompt.
        prompts: Prompts of the batch.
    """

    prompt: int
    response: int
    responses: int
    prompts: int


def points() -> list[Point]:
    """Return the grid; of many that are alike some are enough, where there is nothing to share."""
    made = []
    for prompt in PROMPTS:
        for response in RESPONSES:
            for responses in COUNTS:
                size = responses * (prompt + response)
                alike = (prompt == 0 or responses == 1) and response != 64
                if size <= MOST and not alike:
                    made.append(Point(prompt, response, responses, max(1, LEAST // size)))
    return made


def items_of(point: Point) -> list[Item]:
    """Return the items of a batch."""
    rng = random.Random(0)

    def tokens(count: int) -> list[int]:
        return [rng.randrange(2, 64) for _ in range(count)]

    made: list[Item] = []
    for _ in range(point.prompts):
        prompt = tokens(point.prompt)
        for _ in range(point.responses):
            made.append((prompt, tokens(point.response), [1] * point.response))
    return made


def seconds(model: nn.Module, row: PackedItems) -> float:
    """Return the CPU seconds of one forward and backward pass."""
    start = time.process_time()
    hidden_states(model, row).sum().backward()
    return time.process_time() - start


def measure(model: nn.Module, preset: str, point: Point) -> dict[str, Any]:
    """Return what a point shows."""
    items = items_of(point)
    rows = [pack(items, share=share) for share in (True, False)]
    taken: list[list[float]] = [[], []]
    for number in range(-1, PRESETS[preset]):
        order = (0, 1) if number % 2 else (1, 0)
        for side in order:
            spent = seconds(model, rows[side])
            if number >= 0:
                taken[side].append(spent)
    flops = [training_flops(model, work_of(row), recomputed=True) for row in rows]
    products = [part.trunk + part.attention for part in flops]
    found = ratio(*taken)
    shares = saved_share(items) >= WORTH_SHARING
    assert found.low is not None
    assert found.high is not None
    return {
        "model": preset, **asdict(point), "saved_share": saved_share(items),
        "tokens": [row.tokens for row in rows], "ratio": found.to_json(),
        "predicted": products[1] / products[0], "shares": shares,
        "right": found.high >= 1 if shares else found.low <= 1,
        "cpu_seconds": dict(zip(("shared", "apart"), taken, strict=True)),
    }  # fmt: skip


def model_of(preset: str) -> nn.Module:
    """Return a model of the benchmark with fewer layers."""
    world.PRESETS[preset] = {**world.PRESETS[preset], "num_hidden_layers": LAYERS}
    model = world.make_model(Case(preset=preset).to_json())
    assert choose_layout(model).layout == "packed"
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure when sharing prompts pays.")
    parser.add_argument("--out", type=Path, default=Path("docs/results/sharing.json"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    tune()
    made = []
    for preset in PRESETS:
        model = model_of(preset)
        for point in points():
            made.append(measure(model, preset, point))
            one = made[-1]
            low, high = one["ratio"]["low"], one["ratio"]["high"]
            print(
                f"{preset} {point} saved {one['saved_share']:.3f} "
                f"ratio {one['ratio']['value']:.3f} [{low:.3f}, {high:.3f}] "
                f"predicted {one['predicted']:.3f} "
                f"{'shares' if one['shares'] else 'apart'} {'' if one['right'] else 'WRONG'}",
                flush=True,
            )
    story = {
        "command": "make bench-sharing", "machine": {**machine(), "cores": os.cpu_count()},
        "threads": 1, "layers": LAYERS, "worth_sharing": WORTH_SHARING,
        "versions": {"prefine": importlib.metadata.version("prefine")},
        "python": platform.python_version(), "points": made,
    }  # fmt: skip
    args.out.write_text(json.dumps(story, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
