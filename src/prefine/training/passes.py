"""What a forward and backward pass takes: memory at sizes that were not tried, and time."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from accelerate.utils import send_to_device
from torch import Tensor, nn

from prefine.engine.layout import PackedItems
from prefine.engine.packed import base_of
from prefine.engine.peak_memory import PeakMemory
from prefine.protocols import Adapter, Batch
from prefine.scores import Needs

Rows = Sequence[Mapping[str, Any]]

LONGEST = 2.0
"""Seconds that a timed pass may take; a larger batch is timed in part."""

PROCESS = 64 << 20
"""Bytes that a training process on CPU takes beyond its tensors, measured: 50 to 90 MB."""


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

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values, with the total and whether it fits."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return values | {"total": self.total, "fits": self.fits}


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What an optimizer step and an epoch take on one device.

    Attributes:
        largest: Tokens, or noised pictures, of the largest batch that is computed at once.
        flops_step: Of a mean optimizer step, forward and backward.
        flops_epoch: Of an epoch.
        seconds_step: Of a mean optimizer step.
        seconds_epoch: Of an epoch.
        rate: FLOPs a second that were measured.
        measured: On what they were.
        memory: None where the system cannot say.
    """

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
        return values if self.memory is None else values | {"memory": self.memory.to_json()}


class Passes:
    """Forward and backward passes that leave a model as it was."""

    def __init__(self, model: nn.Module, adapter: Adapter, autocast: torch.dtype | None) -> None:
        self.model, self.adapter, self.autocast = model, adapter, autocast
        self.device = next(model.parameters()).device

    def __enter__(self) -> "Passes":
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

    def run(self, rows: Rows, between: Callable[[], Any] = lambda: None) -> Batch:
        """Score rows and take the gradient; `between` is called before the second."""
        batch = self.adapter.collate(rows)
        batch["items"] = _moved(batch["items"], self.device)
        context: Any = nullcontext()
        if self.autocast is not None:
            context = torch.autocast(self.device.type, self.autocast)
        with context:
            draw = self.adapter.draw(batch, self.model)
            scored = self.adapter.score(self.model, batch, draw, Needs()).value
        between()
        scored.sum().backward()
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self._clear()
        return batch


def _moved(items: Any, device: torch.device) -> Any:
    if isinstance(items, PackedItems):
        return items.to(device)
    return send_to_device(items, device)


def memory_at(
    passes: Passes, size: int, probes: Sequence[Rows], measure: Callable[[Batch], int]
) -> Memory | None:
    """Return what a batch of some size takes, from two smaller ones; None where it is not known.

    Args:
        passes: How a batch is computed.
        size: Of the batch that is asked for.
        probes: Rows of two batches.
        measure: The size of a batch.
    """
    try:
        meter = PeakMemory(passes.device)
    except OSError:
        return None
    found: list[tuple[int, int, int]] = []
    for rows in (probes[0], *probes):  # the first warms up
        held: list[int] = []
        meter.start()
        batch = passes.run(rows, lambda held=held: held.append(meter.grown()))
        found.append((measure(batch), held[0], meter.grown()))
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
    told = getattr(base_of(model), "get_output_embeddings", None)  # a denoiser has none
    head = None if told is None else told()
    return 0 if head is None else _bytes([p for p in head.parameters() if p.requires_grad])


def optimizer_seconds(model: nn.Module) -> float:
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
