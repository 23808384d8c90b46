"""What a run on pictures will take, before it starts.

A denoiser's products are counted by torch while one row goes forward and backward, and each row
costs the same. Memory is measured at one and two rows, and a line through both tells the rest.
"""

import time
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from prefine.adapters.denoising import Denoising
from prefine.protocols import Batch
from prefine.training.passes import (
    LONGEST,
    Estimate,
    Memory,
    Passes,
    Rows,
    memory_at,
    optimizer_seconds,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureEstimate(Estimate):
    """What denoisers take; the FLOPs hold those of inversion.

    Attributes:
        samples: Noised pictures that the policy sees in an epoch.
    """

    samples: int


def estimate_pictures(
    model: nn.Module, adapter: Denoising, batches: list[Rows], *, steps: int, times: float,
    autocast: torch.dtype | None,
) -> PictureEstimate:  # fmt: skip
    """Estimate what training a denoiser on batches takes.

    Args:
        model: As it is trained: on its device, with adapters and checkpointing switched on. Its
            weights, gradients and mode are left as they are.
        adapter: Lays rows out and scores them.
        batches: The encoded rows of each micro-batch on one device.
        steps: Optimizer steps of an epoch.
        times: How many times these batches make an epoch.
        autocast: Precision of products, where it is not that of the weights.
    """
    sizes = [_samples(adapter.collate(rows), adapter) for rows in batches]
    size, largest = max(zip(sizes, batches, strict=True), key=lambda pair: pair[0])
    with Passes(model, adapter, autocast) as passes:
        counter = FlopCounterMode(display=False)
        with counter:
            one = _samples(passes.run(largest[:1]), adapter)
        each = counter.get_total_flops() / one
        probes = [largest[:1], largest[: min(2, len(largest))]]
        memory = memory_at(passes, size, probes, lambda batch: _samples(batch, adapter))
        taken = _seconds(passes, largest[:1])
        count = max(1, min(len(largest), int(LONGEST / taken)))
        taken = _seconds(passes, largest[:count])
    seen = _samples(adapter.collate(largest[:count]), adapter)
    rate = each * seen / taken
    total = sum(sizes) * times
    seconds = total * each / rate + steps * optimizer_seconds(model)
    return PictureEstimate(
        samples=round(total), largest=size, flops_step=total * each / steps,
        flops_epoch=total * each, seconds_step=seconds / steps, seconds_epoch=seconds, rate=rate,
        measured=f"forward and backward of {seen} noised pictures", memory=memory,
    )  # fmt: skip


def _samples(batch: Batch, adapter: Denoising) -> int:
    """Noised pictures of a batch."""
    return len(batch["items"]["sample"]) * adapter.draws


def _seconds(passes: Passes, rows: Rows) -> float:
    start = time.perf_counter()
    passes.run(rows)
    return time.perf_counter() - start


def picture_advice(memory: Memory, *, rows: int, checkpointed: bool, lora: bool) -> list[str]:
    """Return what to change where memory does not suffice, what costs least first.

    Args:
        memory: What the run needs.
        rows: Rows of a micro-batch.
        checkpointed: Whether activations are computed again in the backward pass.
        lora: Whether adapters are trained.
    """
    if memory.fits:
        return []
    changes: list[str] = []
    if rows > 1:
        changes.append(
            "a smaller training.per_device_train_batch_size with more "
            "training.gradient_accumulation_steps: the same gradient"
        )
    if not checkpointed:
        changes.append("training.gradient_checkpointing=true: a third slower, the same gradient")
    if not lora:
        changes.append("--lora: gradients and optimizer state of adapters alone")
    return [*changes, "dtype=bfloat16: half of everything, at less precision",
            "a smaller denoising.size: smaller pictures", "a smaller model"]  # fmt: skip
