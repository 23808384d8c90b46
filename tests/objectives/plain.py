"""Formulas in plain Python, one row at a time, without looking at the tensors.

An index, a sign or a broadcast that is wrong in a loss or here shows where the two are compared.
"""

import math
from typing import Any

import torch

from prefine.objectives.registry import build
from prefine.scores import Scores


def sigma(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def cost(x: float) -> float:
    """-log sigma(x)."""
    return math.log1p(math.exp(-x)) if x > -30 else -x + math.log1p(math.exp(x))


class Pair:
    """One pair by the letters of the papers."""

    def __init__(self, policy: list[float], reference: list[float], length: list[float]) -> None:
        (self.lw, self.ll), (self.nw, self.nl) = policy, length
        self.a, self.b = (p - r for p, r in zip(policy, reference, strict=True))
        self.m = self.a - self.b
        self.mw, self.ml = self.lw / self.nw, self.ll / self.nl


def random_pairs(rows: int = 40, seed: int = 0) -> Scores:
    generator = torch.Generator().manual_seed(seed)
    length = torch.randint(1, 9, (rows, 2), generator=generator).double()
    mean = -0.2 - torch.rand(rows, 2, generator=generator).double()
    shift = torch.randn(rows, 2, generator=generator).double()
    return Scores(mean * length, length, reference=mean * length + shift)


def rows_of(scores: Scores) -> list[Pair]:
    assert scores.reference is not None
    return [
        Pair(policy, reference, length)
        for policy, reference, length in zip(
            scores.policy.tolist(), scores.reference.tolist(), scores.length.tolist(), strict=True
        )
    ]


def losses(name: str, scores: Scores, **options: Any) -> torch.Tensor:
    return build(name, options)(scores)
