"""Pairs, and margins of which the first must be the larger."""

import math
from dataclasses import replace
from functools import partial

import pytest
import torch

from prefine.errors import ObjectiveError
from prefine.objectives import dpo, margin_dpo
from prefine.objectives.combine import contrast
from prefine.scores import Scores

F64 = torch.float64


def rows(*values: list[float]) -> Scores:
    """Rows of two or four log-ratios."""
    width = max(map(len, values))
    valid = torch.tensor([[at < len(row) for at in range(width)] for row in values])
    table = torch.tensor([[*row, *[9.0] * (width - len(row))] for row in values], dtype=F64)
    return Scores(
        table - 5, torch.ones_like(table), reference=torch.full_like(table, -5.0),
        valid=None if valid.all() else valid,
    )  # fmt: skip


def test_numbers_worked_out_by_hand() -> None:
    # a pair: u = 0.5 (3 - 1) = 1; two: u = 0.5 ((3 - 1) - (2 - 4)) = 2
    found = margin_dpo(rows([3.0, 1.0], [3.0, 1.0, 2.0, 4.0]), beta=0.5)
    expected = [math.log1p(math.exp(-1)), math.log1p(math.exp(-2))]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=F64))


def test_a_row_of_two_is_dpo() -> None:
    scores = rows([3.0, 1.0], [0.0, 2.0])
    torch.testing.assert_close(margin_dpo(scores, beta=0.2), dpo(scores, beta=0.2))


def test_a_row_of_four_is_a_contrast_of_margins() -> None:
    """M' - M of (w', l', w, l): w' and l against l' and w."""
    scores = rows([3.0, 1.0, 2.0, 4.0], [0.0, 2.0, -1.0, 0.5])
    same = contrast(partial(dpo, beta=0.2), [[1, 0, 0, 1], [0, 1, 1, 0]])
    torch.testing.assert_close(margin_dpo(scores, beta=0.2), same(scores))


def test_what_is_absent_has_no_gradient() -> None:
    scores = rows([3.0, 1.0], [3.0, 1.0, 2.0, 4.0])
    policy = scores.policy.clone().requires_grad_()
    margin_dpo(replace(scores, policy=policy)).sum().backward()
    assert policy.grad is not None
    assert policy.grad[0, 2:].tolist() == [0.0, 0.0]
    assert policy.grad[1, 2] > 0 > policy.grad[1, 3], "the second margin falls"


def test_three_responses_are_no_row() -> None:
    with pytest.raises(ObjectiveError, match=r"holds 3 responses.*rows\.instructions"):
        margin_dpo(rows([1.0, 2.0, 3.0]))
