"""Models of ties: probabilities that add up, and agreement of policies with reward models."""

import math

import pytest
import torch
from tests.objectives.plain import losses, random_pairs, rows_of, sigma

from prefine.errors import ConfigError
from prefine.objectives.registry import build
from prefine.scores import Scores


@pytest.mark.parametrize("model", ["rao_kupper", "davidson"])
def test_a_win_a_loss_and_a_tie_are_all_there_is(model: str) -> None:
    pairs = random_pairs()
    rows = len(pairs.policy)
    swapped = pairs.take(torch.tensor([[1, 0]] * rows))
    tied = Scores(
        pairs.policy, pairs.length, reference=pairs.reference,
        tie=torch.ones(rows, dtype=torch.bool),
    )  # fmt: skip
    parts = [
        losses("dpo_ties", s, model=model, beta=0.7).neg().exp() for s in (pairs, swapped, tied)
    ]
    torch.testing.assert_close(sum(parts), torch.ones(rows, dtype=torch.float64))
    for pair, win, tie in zip(rows_of(pairs), parts[0].tolist(), parts[2].tolist(), strict=True):
        u = 0.7 * pair.m
        if model == "davidson":
            total = math.exp(u / 2) + math.exp(-u / 2) + 2.0
            assert (win, tie) == pytest.approx((math.exp(u / 2) / total, 2.0 / total))
        else:
            assert win == pytest.approx(sigma(u - math.log(3)))


def test_ties_of_rewards_are_those_of_implicit_rewards() -> None:
    pairs = random_pairs()
    tie = torch.arange(len(pairs.policy)) % 3 == 0
    implicit = Scores(pairs.policy, pairs.length, reference=pairs.reference, tie=tie)
    rewards = Scores(implicit.log_ratio, pairs.length, tie=tie)
    torch.testing.assert_close(
        losses("dpo_ties", implicit, beta=1.0, model="davidson", odds=0.4),
        losses("bradley_terry", rewards, ties="davidson", tie_odds=0.4),
    )
    torch.testing.assert_close(
        losses("dpo_ties", implicit, beta=1.0, odds=2.0),
        losses("bradley_terry", rewards, ties="rao_kupper", tie_width=math.log(2.0)),
    )


def test_without_a_lead_no_tie_can_happen() -> None:
    with pytest.raises(ConfigError, match="`odds` must be above 1"):
        build("dpo_ties", {"odds": 1.0})
