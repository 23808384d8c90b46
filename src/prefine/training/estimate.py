"""What a run will take, before it starts: tokens, products, memory and time of its steps.

Nothing is believed about a model. A small part of the run's own largest batch goes forward and
backward at two sizes; memory is a constant and a part that grows with the tokens, and so two sizes
tell the rest.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import TrainingArguments

from prefine.engine.cost import Work, padded_work, training_flops, work_of
from prefine.engine.layout import PackedItems
from prefine.engine.packed import base_of
from prefine.engine.peak_memory import PeakMemory
from prefine.protocols import Adapter, Batch
from prefine.training.rows import FilledSampler

Rows = Sequence[Mapping[str, Any]]

PROBES = (128, 384)
"""Tokens that are computed to see how memory grows."""

LONGEST = 2.0
"""Seconds that a timed pass may take; a larger batch is timed in part."""

PROCESS = 64 << 20
"""Bytes that a training process on CPU takes beyond its tensors, measured: 50 to 90 MB."""

MOST_COUNTED = 200
"""Batches of an epoch that are looked at; of more, evenly chosen ones."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes at the worst moment of a step.

    Attributes:
        base: In use before: libraries, data, what else the process holds.
        weights: Of the model.
        optimizer: State of AdamW, two numbers a trained weight.
        gradients: Of trained weights.
        activations: What the forward pass of the largest batch leaves for the backward one, with
            the buffers of the head, as the allocator holds them.
        training: Beyond base, weights, gradients and optimizer state; less than `activations`
            where gradients come as activations go.
        available: What the device can still give, with what the weights have already taken.
    """

    base: int
    weights: int
    optimizer: int
    gradients: int
    activations: int
    training: int
    available: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.base + self.owned + self.training

    @property
    def owned(self) -> int:
        """What does not depend on the batch."""
        return self.weights + self.optimizer + self.gradients

    @property
    def fits(self) -> bool:
        """Whether the device can give it."""
        return self.total - self.base <= self.available


@dataclass(frozen=True, slots=True)
class Estimate:
    """What an optimizer step and an epoch take on one device.

    Attributes:
        tokens: Tokens of an epoch, as the model computes them.
        padded_tokens: Tokens of an epoch in padded rows.
        sharing: Tokens of packed rows without sharing by those with it; 1 for padded rows.
        largest: Tokens of the largest batch that is computed at once.
        flops_step: Of a mean optimizer step, forward and backward.
        flops_epoch: Of an epoch.
        seconds_step: Of a mean optimizer step.
        seconds_epoch: Of an epoch.
        rate: FLOPs a second that were measured.
        measured: On what they were.
        memory: None where the system cannot say.
    """

    tokens: int
    padded_tokens: int
    sharing: float
    largest: int
    flops_step: float
    flops_epoch: float
    seconds_step: float
    seconds_epoch: float
    rate: float
    measured: str
    memory: Memory | None

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        found = self.memory
        if found is not None:
            parts = {name: getattr(found, name) for name in found.__dataclass_fields__}
            values["memory"] = parts | {"total": found.total, "fits": found.fits}
        return values


def estimate_step(
    model: nn.Module,
    adapter: Adapter,
    batches: Sequence[Rows],
    *,
    steps: int | None = None,
    times: float = 1.0,
    autocast: torch.dtype | None = None,
) -> Estimate:
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
    with _Passes(model, adapter, autocast) as passes:
        memory = _memory(passes, largest, size)
        rate, measured = _rate(passes, _middle(batches, laid_out))
    seconds = flops / rate + steps * _optimizer_seconds(model)
    apart = sum(sum(_lengths(rows)) for rows in batches)
    packed = isinstance(_items(adapter.collate(batches[0])), PackedItems)
    return Estimate(
        tokens=round(work.tokens * times),
        padded_tokens=round(sum(padded_work(_lengths(rows)).tokens for rows in batches) * times),
        sharing=apart / work.tokens if packed else 1.0,
        largest=size, flops_step=flops / steps, flops_epoch=flops, seconds_step=seconds / steps,
        seconds_epoch=seconds, rate=rate, measured=measured, memory=memory,
    )  # fmt: skip


def epoch_batches(rows: Rows, args: TrainingArguments) -> tuple[list[Rows], int]:
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


class _Passes:
    """Forward and backward passes that leave a model as it was."""

    def __init__(self, model: nn.Module, adapter: Adapter, autocast: torch.dtype | None) -> None:
        self.model, self.adapter, self.autocast = model, adapter, autocast
        self.device = next(model.parameters()).device

    def __enter__(self) -> "_Passes":
        self.kept = {p: p.grad for p in self.model.parameters()}
        self.training = self.model.training
        self.model.train()
        self._clear()
        return self

    def __exit__(self, *_: Any) -> None:
        for parameter, gradient in self.kept.items():
            parameter.grad = gradient
        self.model.train(self.training)

    def _clear(self) -> None:
        for parameter in self.kept:
            parameter.grad = None

    def run(self, rows: Rows, between: Callable[[], Any] = lambda: None) -> Work:
        """Score rows and take the gradient; `between` is called before the second."""
        batch = self.adapter.collate(rows)
        work = _work(batch)
        batch["items"] = _moved(_items(batch), self.device)
        context: Any = nullcontext()
        if self.autocast is not None:
            context = torch.autocast(self.device.type, self.autocast)
        with context:
            scored: Tensor = self.adapter.score(self.model, batch, None).value  # type: ignore[call-arg]
        between()
        scored.sum().backward()
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self._clear()
        return work


def _moved(items: Any, device: torch.device) -> Any:
    if isinstance(items, PackedItems):
        return items.to(device)
    return {name: value.to(device) for name, value in items.items()}


def _memory(passes: _Passes, largest: Rows, size: int) -> Memory | None:
    try:
        meter = PeakMemory(passes.device)
    except OSError:
        return None
    found: list[tuple[int, int, int]] = []
    sizes = [min(probe, size * n // 2) for n, probe in enumerate(PROBES, 1)]
    for tokens in (sizes[0], *sizes):  # the first warms up
        held: list[int] = []
        part = _cut(largest, tokens / size)
        meter.start()
        work = passes.run(part, lambda held=held: held.append(meter.grown()))
        found.append((work.tokens, held[0], meter.grown()))
    meter.start()
    parameters = list(passes.model.parameters())
    weights = _bytes(parameters)
    gradients = _bytes([p for p in parameters if p.requires_grad])
    activations = _line_at(size, [(n, forward) for n, forward, _ in found[1:]])
    whole = _line_at(size, [(n, backward) for n, _, backward in found[1:]])
    # At first the backward pass has all activations and the head's gradient, at last all gradients.
    peak = max(activations + _head_gradient(passes.model), whole)
    process = PROCESS if passes.device.type == "cpu" else 0
    return Memory(
        base=max(0, meter.now() - weights), weights=weights, optimizer=2 * gradients,
        gradients=gradients, activations=activations, training=peak - gradients + process,
        available=meter.available() + weights,
    )  # fmt: skip


def _line_at(size: int, points: Sequence[tuple[int, int]]) -> int:
    """The value at `size` of the line through two points, which never falls."""
    (n, low), (m, high) = points
    slope = max(0.0, (high - low) / (m - n)) if m > n else 0.0
    return round(high + slope * (size - m))


def _bytes(parameters: Sequence[Tensor]) -> int:
    return sum(p.numel() * p.element_size() for p in parameters)


def _head_gradient(model: nn.Module) -> int:
    head = base_of(model).get_output_embeddings()
    return 0 if head is None else _bytes([p for p in head.parameters() if p.requires_grad])


def _rate(passes: _Passes, rows: Rows) -> tuple[float, str]:
    """FLOPs a second of a batch, or of as much of it as can be timed."""
    size = _work(passes.adapter.collate(rows)).tokens
    start = time.perf_counter()
    work = passes.run(_cut(rows, min(1.0, PROBES[0] / size)))
    taken = time.perf_counter() - start
    share = min(1.0, work.tokens / size * max(1.0, LONGEST / taken))
    start = time.perf_counter()
    work = passes.run(_cut(rows, share) if share < 1 else rows)
    taken = time.perf_counter() - start
    flops = training_flops(passes.model, work, recomputed=True).total
    return flops / taken, f"forward and backward of {work.tokens} tokens"


def _optimizer_seconds(model: nn.Module) -> float:
    """Seconds of a step of AdamW, from one over at most four million weights."""
    learnt = [p for p in model.parameters() if p.requires_grad]
    count = sum(p.numel() for p in learnt)
    if not count:
        return 0.0
    one = torch.zeros(min(count, 1 << 22), dtype=learnt[0].dtype, device=learnt[0].device)
    one.requires_grad_().grad = torch.ones_like(one)
    optimizer = torch.optim.AdamW([one], fused=one.device.type in ("cpu", "cuda"))
    optimizer.step()
    start = time.perf_counter()
    torch.nn.utils.clip_grad_norm_([one], 1.0)
    optimizer.step()
    return (time.perf_counter() - start) * count / one.numel()


def show(found: Mapping[str, Any]) -> list[str]:
    """Return the lines that say an estimate, as `Estimate.to_json` and `advice` give it."""
    lines = [
        f"tokens      {found['tokens']:,} an epoch, {found['padded_tokens']:,} as padded rows; "
        f"sharing prompts computes {found['sharing']:.2f} times fewer",
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
        f"memory      {_size(memory['total'])} at most ({said}), for {found['largest']:,} tokens "
        f"at once; {_size(memory['available'])} available beside base"
    )
    return lines + [f"too large   {change}" for change in found["advice"]]


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if abs(count) >= 1e9 else f"{count / 1e6:.0f} MB"


def _duration(seconds: float) -> str:
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"
