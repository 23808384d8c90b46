"""What a fresh process can say of a case: what its steps will take, and how fast products run.

Run as a process of its own with the threads and settings of a side. Standard input holds the case
and its products, standard output the answer.
"""

import json
import sys
from typing import Any

from prefine.bench import picture_world, side_pictures, side_prefine, world
from prefine.bench.gemm import LARGE, rates
from prefine.engine.packed import base_of
from prefine.engine.tune import keep_freed_memory, tune, use_onednn


def main() -> None:
    """Estimate and measure what standard input asks for."""
    given = json.loads(sys.stdin.read())
    case = given["case"]
    import torch

    torch.set_num_threads(given["threads"])
    if case["tuned"]:
        tune()
    if case["against"] == "diffusers":
        print(json.dumps({"estimate": estimate_pictures_of(case, given["steps"])}))
        return
    trains_alone = case["task"] != "score" and case["reference"] == "cached"
    estimated = estimate(case, given["steps"]) if trains_alone else None
    print(json.dumps({"estimate": estimated, **products(case, given["products"])}))


def estimate(case: dict[str, Any], steps: int) -> dict[str, Any]:
    """Return what `prefine train --dry-run` says of the timed steps, as JSON values."""
    import torch

    from prefine.training.estimate import estimate_step

    groups, model = world.make_groups(case, steps), side_prefine.make_model(case)
    adapter = side_prefine.make_adapter(case, world.make_tokenizer(case), model)
    if case["checkpointing"]:
        base_of(model).activation_checkpointing_enable()
    data = adapter.prepare(side_prefine.view_of(groups, case)).dataset
    rows, size = [data[n] for n in range(len(data))], case["prompts"]
    batches = [rows[at : at + size] for at in range(case["steps"] * size, len(rows), size)]
    low = torch.bfloat16 if case["precision"] == "mixed" else None
    return estimate_step(model, adapter, batches, autocast=low).to_json()


def estimate_pictures_of(case: dict[str, Any], steps: int) -> dict[str, Any]:
    """Return the same for pictures."""
    from prefine.training.estimate_pictures import estimate_pictures

    rows, size = side_pictures.make_rows(case, steps), case["prompts"]
    batches: list[Any] = [rows[at : at + size] for at in range(0, len(rows), size)]
    return estimate_pictures(
        picture_world.make_model(case), side_pictures.make_adapter(), batches, steps=len(batches),
        times=1.0, autocast=None,
    ).to_json()  # fmt: skip


def products(case: dict[str, Any], asked: list[Any]) -> dict[str, Any]:
    """Return the rates of products with the faster backend, and the machine's peak, FLOPs a second.

    Returns:
        `rates` by the clock and `busy_rates` by CPU seconds, one for each product, and `peak`.
    """
    import torch

    device, dtype = case["device"], torch.float32
    if case["precision"] != "float32":
        dtype = torch.bfloat16
    size = LARGE[device]
    asked = [*asked, ["forward", 1, size, size, size]]
    keep_freed_memory()
    torch.set_float32_matmul_precision("highest")
    found = rates(asked, device, dtype)
    if device == "cpu" and use_onednn():  # the second backend, where it is as exact
        again = rates(asked, device, dtype)
        found = [(max(a, c), max(b, d)) for (a, b), (c, d) in zip(found, again, strict=True)]
    wall, busy = (list(column) for column in zip(*found, strict=True))
    return {"rates": wall[:-1], "busy_rates": busy[:-1], "peak": max(wall)}


if __name__ == "__main__":
    main()
