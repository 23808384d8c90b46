"""Pairs, and margins of which the first must be the larger."""

import math
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch

from prefine.errors import ObjectiveError
from prefine.objectives import bradley_terry, dpo, margin_dpo, margin_reward
from prefine.objectives.combine import contrast, weighted_sum
from prefine.objectives.declare import spec
from prefine.objectives.registry import build, names
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


@pytest.mark.parametrize("loss", [margin_dpo, margin_reward])
def test_three_responses_are_no_row(loss: Any) -> None:
    with pytest.raises(ObjectiveError, match=rf"{loss.__name__} .*holds 3.*rows\.instructions"):
        loss(rows([1.0, 2.0, 3.0]))


def test_rewards_worked_out_by_hand() -> None:
    # r_1 - r_2 = 2; (3 - 1) - (2 - 4) = 4; the second pair of the first row is absent
    scores = replace(rows([3.0, 1.0], [3.0, 1.0, 2.0, 4.0]), reference=None)
    expected = [math.log1p(math.exp(-2)), math.log1p(math.exp(-4))]
    torch.testing.assert_close(margin_reward(scores), torch.tensor(expected, dtype=F64))


def test_a_pair_of_rewards_is_bradley_terry_and_no_reference_is_read() -> None:
    scores = rows([3.0, 1.0], [0.0, 2.0])
    torch.testing.assert_close(margin_reward(scores), bradley_terry(scores))
    moved = replace(scores, reference=torch.randn(2, 2, dtype=F64))
    assert margin_reward(moved).equal(margin_reward(scores))
    assert not spec(margin_reward).needs.reference


def test_only_losses_of_rewards_say_so() -> None:
    units = {name: spec(build(name)).unit for name in names()}
    assert {name for name, unit in units.items() if unit} == {"bradley_terry", "margin_reward"}
    assert spec(build("robust_em", {"loss": "reward"})).unit == "reward"
    assert spec(weighted_sum([dpo, bradley_terry], [1.0, 1.0])).unit == "reward"
