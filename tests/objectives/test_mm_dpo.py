"""A pair that a reward finds clear has more strength, up to a bound."""

import math

import pytest
import torch

from prefine.errors import ConfigError
from prefine.objectives import dpo, mm_dpo, rpo
from prefine.scores import Scores

F64 = torch.float64


def pair(*leads: float) -> Scores:
    count = len(leads)
    return Scores(
        torch.tensor([[-1.0, -3.0]] * count, dtype=F64), torch.full((count, 2), 4.0, dtype=F64),
        reference=torch.zeros(count, 2, dtype=F64),
        utility=torch.tensor([[lead, 0.0] for lead in leads], dtype=F64),
    )  # fmt: skip


def test_numbers_worked_out_by_hand() -> None:
    # b = 1 + 0.5 (1 - e^(-log 2)) = 1.25, u = 1.25 * 2; likelihood 0.25 * 1 / 4
    found = mm_dpo(pair(1.0), beta=1.0, boost=0.5, rate=math.log(2), likelihood_weight=0.25)
    expected = math.log1p(math.exp(-2.5)) + 0.0625
    torch.testing.assert_close(found, torch.tensor([expected], dtype=F64))


def test_strength_is_bounded_on_both_sides() -> None:
    loss = mm_dpo(pair(-5.0, 0.0, 1.0, 1e9), beta=1.0, boost=0.5, likelihood_weight=0.0)
    assert loss[0] == loss[1], "a lead below 0 is none"
    torch.testing.assert_close(loss[1:2], dpo(pair(0.0), beta=1.0))
    torch.testing.assert_close(loss[3:], dpo(pair(0.0), beta=1.5))
    assert loss[1] > loss[2] > loss[3]


def test_without_a_boost_it_is_rpo() -> None:
    ours = mm_dpo(pair(3.0), beta=0.3, boost=0.0, likelihood_weight=0.7)
    torch.testing.assert_close(ours, rpo(pair(3.0), beta=0.3, likelihood_weight=0.7))


def test_options_are_checked() -> None:
    with pytest.raises(ConfigError, match="rate"):
        mm_dpo(pair(1.0), rate=0.0)
