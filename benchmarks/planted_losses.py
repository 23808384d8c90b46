"""Objectives of which it is known how they compare."""

from typing import Annotated

import torch
from torch import Tensor

from prefine.objectives import dpo
from prefine.objectives.declare import objective
from prefine.objectives.options import Range
from prefine.scores import Needs, Scores

Beta = Annotated[float, Range(above=0, usual=(0.01, 0.5))]
"""As `dpo` has it, so that all get the same trials."""

TURNED = {"misled": (0, 3), "here": (3, 5), "there": (6, 8)}
"""Which of ten pairs an objective reads the wrong way round, first and after the last."""


def _turned(scores: Scores, name: str, beta: float) -> Tensor:
    """Return `dpo` with some pairs turned round, always the same ones, whatever they say."""
    assert scores.reference is not None
    low, high = TURNED[name]
    digit = (1_000 * scores.reference.double()).round().long().sum(1) % 10
    turned = ((digit >= low) & (digit < high))[:, None]
    order = torch.where(turned, torch.tensor([1, 0]), torch.tensor([0, 1]))
    return dpo(scores.take(order), beta=beta)


@objective(data="pair", needs=Needs(reference=True), formula="dpo, three pairs in ten turned round")
def misled(scores: Scores, *, beta: Beta = 0.1) -> Tensor:
    """Return a loss that is worse than `dpo`."""
    return _turned(scores, "misled", beta)


@objective(data="pair", needs=Needs(reference=True), formula="dpo, two pairs in ten turned round")
def here(scores: Scores, *, beta: Beta = 0.1) -> Tensor:
    """Return a loss that is as bad as `there`, on other pairs."""
    return _turned(scores, "here", beta)


@objective(data="pair", needs=Needs(reference=True), formula="dpo, two others in ten turned round")
def there(scores: Scores, *, beta: Beta = 0.1) -> Tensor:
    """Return a loss that is as bad as `here`, on other pairs."""
    return _turned(scores, "there", beta)


@objective(data="pair", formula="-lbar of the chosen response")
def winner(scores: Scores) -> Tensor:
    """Return the likelihood of the chosen response alone: no negative gradient."""
    return -scores.policy[:, 0] / scores.length[:, 0].clamp(min=1)
