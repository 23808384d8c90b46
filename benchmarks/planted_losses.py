"""Objectives of which it is known how they compare, and the truth of the word world."""

from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor

from prefine.ledger.worlds import words
from prefine.objectives import dpo
from prefine.objectives.declare import objective
from prefine.objectives.options import Range
from prefine.scores import Needs, Scores

Beta = Annotated[float, Range(above=0, usual=(0.01, 0.5))]
"""As `dpo` has it, so that all get the same trials."""

TURNED = 3
"""Of ten pairs, how many `misled` reads the wrong way round."""


@objective(data="pair", needs=Needs(reference=True), formula="dpo under another name")
def again(scores: Scores, *, beta: Beta = 0.1) -> Tensor:
    """Return what `dpo` does: nobody can tell the two apart."""
    return dpo(scores, beta=beta)


@objective(data="pair", needs=Needs(reference=True), formula="dpo, three pairs in ten turned round")
def misled(scores: Scores, *, beta: Beta = 0.1) -> Tensor:
    """Return `dpo` with some pairs turned round, always the same ones, whatever they say."""
    assert scores.reference is not None
    said = (1_000 * scores.reference.double()).round().long().sum(1)
    turned = (said % 10 < TURNED)[:, None]
    order = torch.where(turned, torch.tensor([1, 0]), torch.tensor([0, 1]))
    return dpo(scores.take(order), beta=beta)


def gold(prompts: Sequence[str], completions: Sequence[str]) -> list[float]:
    """Return the true reward of each answer."""
    return [words.gold(*each) for each in zip(prompts, completions, strict=True)]
