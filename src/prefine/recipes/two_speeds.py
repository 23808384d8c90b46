"""Two copies of a policy that learn from one stream at two speeds, and chase each other."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Literal

import torch
from torch import Tensor, nn

from prefine.errors import ConfigError, NonFiniteError
from prefine.objectives import dpo
from prefine.objectives.chase import TWIN, chasing
from prefine.objectives.declare import Loss
from prefine.scores import Scores

Side = Literal[0, 1]
Score = Callable[[Side, Any], Scores]
"""`score(side, batch)`: pairs of a batch under the parameters of one side, with gradient."""


@dataclass(frozen=True, slots=True)
class Chase:
    """How it ended.

    Attributes:
        fast: The side that plays the fast role at the end: the one to use.
        swaps: Steps after which the roles were exchanged.
        losses: Mean loss of either side without the chase, over the last spell of steps.
    """

    fast: Side
    swaps: tuple[int, ...]
    losses: tuple[float, float]


def chase(
    score: Score,
    sides: tuple[Iterable[nn.Parameter], Iterable[nn.Parameter]],
    stream: Iterable[Any],
    *,
    rate: float,
    loss: Loss = dpo,
    ratio: float = 0.1,
    alpha: float = 0.3,
    beta: float = 0.1,
    every: int = 20,
    optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.AdamW,
) -> Chase:
    """Train two sets of parameters on a stream of pairs, in place (OFS-DPO).

    The fast side learns with `rate` and the slow one with `ratio * rate`, each with its part of
    `prefine.objectives.chase.chasing`. After every spell of `every` steps the side with the lower
    mean loss becomes the fast one; its optimizer keeps its moments.

    Args:
        score: Scores a batch with either side. With peft, `model.set_adapter(names[side])` first,
            and the reference with adapters off.
        sides: The parameters of either side, the first one fast at the start. They share none.
        stream: Batches, in order.
        rate: Learning rate of the fast role.
        loss: An objective on pairs, with its options bound.
        ratio: Rate of the slow role in shares of `rate`, in (0, 1].
        alpha: Share of the chase, in [0, 1); 0 leaves two rates and the exchange of roles.
        beta: Strength of the chase.
        every: Steps of a spell.
        optimizer: Makes an optimizer from parameters and `lr`.

    Returns:
        Which side to use, and what happened.

    Raises:
        ConfigError: If the sides share a parameter or one is empty, an option is out of range, or
            the stream is empty.
        NonFiniteError: If a loss is not finite; no step is skipped.

    Source:
        Qi et al. 2024, arXiv:2406.05534 (OFS-DPO). `ratio`, `alpha` and `every` are choices of
        this library.

    Example:
        >>> features = torch.tensor([[[1.0], [0.0]]])
        >>> sides = tuple(nn.Parameter(torch.zeros(1)) for _ in range(2))
        >>> def score(side, rows):
        ...     policy = features[rows] @ sides[side]
        ...     return Scores(policy, torch.ones_like(policy), reference=torch.zeros_like(policy))
        >>> found = chase(score, ([sides[0]], [sides[1]]), [[0]] * 40, rate=0.1)
        >>> found.fast, bool(sides[0] > sides[1] > 0)
        (0, True)
    """
    parts = [list(side) for side in sides]
    _check(parts, rate, ratio, every)
    terms = [chasing(loss, role=role, alpha=alpha, beta=beta) for role in ("fast", "slow")]
    optimizers = [optimizer(part, lr=rate) for part in parts]
    fast: Side = 0
    _set_rates(optimizers, fast, rate, ratio)
    batches, swaps, steps = iter(stream), list[int](), 0
    means = (math.nan, math.nan)
    while spell := list(islice(batches, every)):
        found = torch.stack([_step(score, parts, optimizers, loss, terms, fast, b) for b in spell])
        steps += len(spell)
        means = (float(found[:, 0].mean()), float(found[:, 1].mean()))
        if len(spell) == every and means[1 - fast] < means[fast]:
            fast = 1 if fast == 0 else 0
            swaps.append(steps)
            _set_rates(optimizers, fast, rate, ratio)
    if not steps:
        raise ConfigError("The stream holds no batch, so nothing could be learnt from it.")
    return Chase(fast, tuple(swaps), means)


def _step(
    score: Score,
    parts: Sequence[Sequence[nn.Parameter]],
    optimizers: Sequence[torch.optim.Optimizer],
    loss: Loss,
    terms: Sequence[Loss],
    fast: Side,
    batch: Any,
) -> Tensor:
    """Take a step with either side; return [2] their losses without the chase."""
    seen = (score(0, batch), score(1, batch))
    for part in parts:  # peft stops the gradients of an adapter when another is switched on
        for parameter in part:
            parameter.requires_grad_(True)
    own: list[Tensor] = []
    for side, scores in enumerate(seen):
        against = replace(scores, others={**scores.others, TWIN: seen[1 - side].policy.detach()})
        term = terms[0] if side == fast else terms[1]
        value = _mean(term(against), scores)
        if not torch.isfinite(value):
            raise NonFiniteError(f"The loss of side {side} is {value.item()}: lower the rate.")
        optimizers[side].zero_grad()
        value.backward()
        own.append(_mean(loss(scores), scores).detach())
    for made in optimizers:
        made.step()
    return torch.stack(own)


def _mean(losses: Tensor, scores: Scores) -> Tensor:
    if scores.weight is None:
        return losses.mean()
    return (scores.weight * losses).sum() / scores.weight.sum()


def _set_rates(
    optimizers: Sequence[torch.optim.Optimizer], fast: Side, rate: float, ratio: float
) -> None:
    for side, made in enumerate(optimizers):
        for group in made.param_groups:
            group["lr"] = rate if side == fast else ratio * rate


def _check(parts: Sequence[Sequence[nn.Parameter]], rate: float, ratio: float, every: int) -> None:
    names = [{id(parameter) for parameter in part} for part in parts]
    if not all(names) or names[0] & names[1]:
        raise ConfigError(
            f"The sides hold {len(names[0])} and {len(names[1])} parameters and share "
            f"{len(names[0] & names[1])}. Each needs its own: what is shared would be moved twice."
        )
    if rate <= 0 or not 0 < ratio <= 1:
        raise ConfigError(f"`rate` must be above 0 and `ratio` in (0, 1], got {rate} and {ratio}.")
    if every < 1:
        raise ConfigError(f"`every` must be 1 or more, got {every}.")
