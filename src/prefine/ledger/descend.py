"""A plain training loop for problems of one tensor: minibatches, Adam, and an objective's state."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from prefine.errors import NonFiniteError
from prefine.objectives.declare import Stateful, unwrapped
from prefine.scores import Scores

ScoreRows = Callable[[Tensor, Tensor], Scores]
"""`scores(parameters, rows)`: what is scored of the rows [B] with these numbers."""


def descend(
    loss: Callable[[Scores], Tensor],
    scores: ScoreRows,
    start: Tensor,
    rows: int,
    *,
    steps: int,
    batch: int = 64,
    rate: float = 0.02,
    decay: bool = True,
    momentum: float = 0.9,
    seed: int = 0,
    on_step: Callable[[int, Tensor], None] | None = None,
) -> Tensor:
    """Return the parameters after some steps of Adam.

    Each step takes the weighted mean over a batch, as the trainer does; a stateful objective
    observes and updates around it, as there.

    Args:
        loss: An objective.
        scores: Scores rows with parameters.
        start: Parameters to begin from; they are left as they are.
        rows: How many rows there are; every epoch takes them in another order.
        steps: Optimizer steps.
        batch: Rows of a step.
        rate: Learning rate.
        decay: Whether it falls to 0 along a cosine.
        momentum: Adam's first; 0 where two sides play against each other.
        seed: Of the order.
        on_step: Called after each step with its number, from 1, and the parameters.

    Raises:
        NonFiniteError: If a loss is not finite.

    Example:
        >>> from prefine.objectives import bradley_terry
        >>> pair = torch.tensor([[2.0, 1.0]])
        >>> def scored(weight, rows):
        ...     return Scores(weight * pair[rows], torch.ones(len(rows), 2))
        >>> weight = descend(bradley_terry, scored, torch.zeros(1), 1, steps=50, rate=0.1)
        >>> bool(weight > 1)
        True
    """
    found = start.detach().clone().requires_grad_()
    optimizer = torch.optim.Adam([found], lr=rate, betas=(momentum, 0.999))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: (1 + math.cos(math.pi * step / steps)) / 2 if decay else 1.0
    )
    order, generator = torch.empty(0, dtype=torch.long), torch.Generator().manual_seed(seed)
    state: Any = unwrapped(loss)
    state = state if isinstance(state, Stateful) else None
    for step in range(1, steps + 1):
        while len(order) < min(batch, rows):
            order = torch.cat([order, torch.randperm(rows, generator=generator)])
        at, order = order[:batch], order[batch:]
        seen = scores(found, at)
        if state is not None and state.when == "before":
            state.update(state.observe(seen))
        weight = torch.ones(len(at), dtype=found.dtype) if seen.weight is None else seen.weight
        value = (weight * loss(seen)).sum() / weight.sum()
        if not torch.isfinite(value):
            raise NonFiniteError(f"The loss of step {step} is {float(value)}.")
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        schedule.step()
        if state is not None and state.when == "after":
            state.update(state.observe(seen))
        if on_step is not None:
            on_step(step, found.detach())
    return found.detach()
