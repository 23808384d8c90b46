"""What a run will take, before it starts: tokens, products, memory and time of its steps.

Nothing is believed about a model. A small part of the run's own largest batch goes forward and
backward at two sizes; memory is a constant and a part that grows with the tokens, and so two sizes
tell the rest.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import TrainingArguments

from prefine.engine.cost import Work, padded_work, training_flops, work_of
from prefine.engine.layout import PackedItems
from prefine.protocols import Adapter, Batch
from prefine.training.passes import (
    LONGEST,
    Estimate,
    Memory,
    Passes,
    memory_at,
    optimizer_seconds,
)
from prefine.training.rows import EncodedRows, FilledSampler

Rows = Sequence[Mapping[str, Any]]

PROBES = (128, 384)
"""Tokens that are computed to see how memory grows."""

MOST_COUNTED = 200
"""Batches of an epoch that are looked at; of more, evenly chosen ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextEstimate(Estimate):
    """What language models take.

    Attributes:
        tokens: Tokens of an epoch, as the model computes them.
        padded_tokens: Tokens of an epoch in padded rows.
        sharing: Tokens of packed rows without sharing by those with it; 1 for padded rows.
    """

    tokens: int
    padded_tokens: int
    sharing: float


def estimate_step(
    model: nn.Module,
    adapter: Adapter,
    batches: Sequence[Rows],
    *,
    steps: int | None = None,
    times: float = 1.0,
    autocast: torch.dtype | None = None,
) -> TextEstimate:
    """Estimate what training on batches takes.

    Args:
        model: As it is trained: on its device, with adapters and checkpointing switched on. Its
            weights, gradients and mode are left as they are.
        adapter: Lays rows out and scores them.
        batches: The encoded rows of each batch that is computed at once, on one device.
        steps: Optimizer steps of an epoch; one for each batch where None.
        times: How many times these batches make an epoch.
        autocast: Precision of products, where it is not that of the weights.
    """
    steps = len(batches) if steps is None else steps
    laid_out = [_work(adapter.collate(rows)) for rows in batches]
    largest, size = max(
        zip(batches, (work.tokens for work in laid_out), strict=True), key=lambda pair: pair[1]
    )
    work = sum(laid_out, Work(0, 0, 0))
    flops = training_flops(model, work, recomputed=True).total * times
    with Passes(model, adapter, autocast) as passes:
        sizes = [min(probe, size * n // 2) for n, probe in enumerate(PROBES, 1)]
        probes = [_cut(largest, tokens / size) for tokens in sizes]
        memory = memory_at(passes, size, probes, lambda batch: _work(batch).tokens)
        rate, measured = _rate(passes, _middle(batches, laid_out))
    seconds = flops / rate + steps * optimizer_seconds(model)
    apart = sum(sum(_lengths(rows)) for rows in batches)
    packed = isinstance(_items(adapter.collate(batches[0])), PackedItems)
    return TextEstimate(
        tokens=round(work.tokens * times),
        padded_tokens=round(sum(padded_work(_lengths(rows)).tokens for rows in batches) * times),
        sharing=apart / work.tokens if packed else 1.0,
        largest=size, flops_step=flops / steps, flops_epoch=flops, seconds_step=seconds / steps,
        seconds_epoch=seconds, rate=rate, measured=measured, memory=memory,
    )  # fmt: skip


def epoch_batches(rows: Rows | EncodedRows, args: TrainingArguments) -> tuple[list[Rows], int]:
    """Return micro-batches of this process, as the trainer draws them in the first epoch.

    Returns:
        At most `MOST_COUNTED` batches, evenly chosen, and how many the epoch has.
    """
    size, seed = args.train_batch_size, args.seed if args.data_seed is None else args.data_seed
    shuffle = args.train_sampling_strategy == "random"
    sampler = FilledSampler(len(rows), size * args.world_size, shuffle=shuffle, seed=seed)
    order = [at for _, at, present in sampler if present]
    starts = range(args.process_index * size, len(order), size * args.world_size)
    chosen = _evenly(starts, MOST_COUNTED)
    return [[rows[at] for at in order[start : start + size]] for start in chosen], len(starts)


def advice(memory: Memory, *, rows: int, checkpointed: bool, lora: bool, dtype: str) -> list[str]:
    """Return what to change where memory does not suffice, what costs least first.

    Args:
        memory: What the run needs.
        rows: Rows of a batch that is computed at once.
        checkpointed: Whether activations are computed again in the backward pass.
        lora: Whether adapters are trained.
        dtype: Precision of the weights.
    """
    if memory.fits:
        return []
    changes: list[str] = []
    if rows > 1:
        changes.append("a smaller token_budget: batches in smaller parts, the same gradient")
    if not checkpointed:
        changes.append("training.gradient_checkpointing=true: a third slower, the same gradient")
    if not lora:
        changes.append("--lora: gradients and optimizer state of adapters alone")
    if dtype not in ("bfloat16", "float16"):
        changes.append("dtype=bfloat16: half of everything, at less precision")
    return [*changes, "a smaller max_length: longer rows are cut or left out", "a smaller model"]


# --- counting ---


def _items(batch: Batch) -> Any:
    return batch["items"]


def _work(batch: Batch) -> Work:
    items = _items(batch)
    if isinstance(items, PackedItems):
        return work_of(items)
    count, width = items["input_ids"].shape
    return padded_work([width] * count)


def _lengths(rows: Rows) -> list[int]:
    """Tokens of each item."""
    return [
        len(prompt) + len(response)
        for row in rows
        for prompt, response in zip(row["prompt"], row["response"], strict=True)
    ]


def _evenly(values: Sequence[Any], most: int) -> list[Any]:
    if len(values) <= most:
        return list(values)
    return [values[round(at * (len(values) - 1) / (most - 1))] for at in range(most)]


def _middle(batches: Sequence[Rows], works: Sequence[Work]) -> Rows:
    """The batch of median size."""
    order = sorted(range(len(batches)), key=lambda at: works[at].tokens)
    return batches[order[len(order) // 2]]


def _cut(rows: Rows, share: float) -> Rows:
    """Rows with the first tokens of every prompt and response; equal prompts stay equal."""

    def part(tokens: Any) -> Any:
        return tokens[: max(1, round(len(tokens) * share))]

    columns = ("prompt", "response", "mask")
    return [{**row, **{name: [part(t) for t in row[name]] for name in columns}} for row in rows]


# --- measuring ---


def _rate(passes: Passes, rows: Rows) -> tuple[float, str]:
    """FLOPs a second of a batch, or of as much of it as can be timed."""
    size = _work(passes.adapter.collate(rows)).tokens
    start = time.perf_counter()
    work = _work(passes.run(_cut(rows, min(1.0, PROBES[0] / size))))
    taken = time.perf_counter() - start
    share = min(1.0, work.tokens / size * max(1.0, LONGEST / taken))
    start = time.perf_counter()
    work = _work(passes.run(_cut(rows, share) if share < 1 else rows))
    taken = time.perf_counter() - start
    flops = training_flops(passes.model, work, recomputed=True).total
    return flops / taken, f"forward and backward of {work.tokens} tokens"


def show(found: Mapping[str, Any]) -> list[str]:
    """Return the lines that say an estimate, as `Estimate.to_json` and `advice` give it."""
    seen, unit = (_tokens(found), "tokens") if "tokens" in found else (_pictures(found), "pictures")
    lines = [
        seen,
        f"products    {found['flops_step']:.3g} FLOPs a step, {found['flops_epoch']:.3g} an epoch, "
        f"at {found['rate']:.3g} a second ({found['measured']})",
        f"time        about {found['seconds_step']:.2g} s a step, "
        f"{_duration(found['seconds_epoch'])} an epoch, scores of a reference aside",
    ]
    memory = found["memory"]
    if memory is None:
        return [*lines, "memory      unknown on this system"]
    parts = ("base", "weights", "optimizer", "gradients", "training")
    said = ", ".join(f"{part} {_size(memory[part])}" for part in parts)
    lines.append(
        f"memory      {_size(memory['total'])} at most ({said}), for {found['largest']:,} {unit} "
        f"at once; {_size(memory['available'])} available beside base"
    )
    return lines + [f"too large   {change}" for change in found["advice"]]


def _tokens(found: Mapping[str, Any]) -> str:
    return (
        f"tokens      {found['tokens']:,} an epoch, {found['padded_tokens']:,} as padded rows; "
        f"sharing prompts computes {found['sharing']:.2f} times fewer"
    )


def _pictures(found: Mapping[str, Any]) -> str:
    return f"pictures    {found['samples']:,} noised ones an epoch"


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if abs(count) >= 1e9 else f"{count / 1e6:.0f} MB"


def _duration(seconds: float) -> str:
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"
