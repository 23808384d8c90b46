import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from prefine.errors import ObjectiveError
from prefine.objectives import dpo, modpo

NATS = st.floats(-100, 100)


def cost(x):
    return math.log1p(math.exp(-x))


def two(first, second):
    return torch.tensor([[first, second]], dtype=torch.float64)


# --- h = (3, -1), beta 0.5: 0.5 (4) = 2; s = (2, -1): s_w - s_l = 3 ---


@pytest.mark.parametrize(
    ("weight", "prob", "expected"),
    [
        # u = (2 - 0.5 (3)) / 0.5 = 1
        (0.5, None, cost(1.0)),
        # u = (2 - 0.75 (3)) / 0.25 = -1
        (0.25, None, cost(-1.0)),
        # w = 1 reads no other reward: u = 2
        (1.0, None, cost(2.0)),
        # soft label 0.75, and 0.75 of one side
        (0.5, 0.75, 0.75 * cost(1.0) + 0.25 * cost(-1.0)),
    ],
)
def test_modpo_by_hand(scores_of, weight, prob, expected):
    soft = None if prob is None else torch.tensor([prob], dtype=torch.float64)
    scores = scores_of([[3.0, -1.0]], utility=two(2.0, -1.0), prob=soft)
    found = modpo(scores, beta=0.5, weight=weight).item()
    assert found == pytest.approx(expected, abs=1e-12)


@given(NATS, NATS, NATS, NATS)
def test_all_weight_on_the_pairs_is_dpo(scores_of, chosen, rejected, first, second):
    scores = scores_of([[chosen, rejected]], utility=two(first, second))
    assert modpo(scores, weight=1.0).equal(dpo(scores))


@given(st.floats(-3, 3), st.floats(-3, 3), st.floats(0.1, 0.9))
def test_it_asks_for_the_weighted_sum_of_both_gaps(scores_of, label_gap, other_gap, weight):
    """Where beta (h_w - h_l) = w r + (1 - w) s, the logit is r: the label's own log-odds."""
    beta = 0.5
    ratio = (weight * label_gap + (1 - weight) * other_gap) / beta
    scores = scores_of([[ratio, 0.0]], utility=two(other_gap, 0.0))
    expected = cost(label_gap)
    assert modpo(scores, beta=beta, weight=weight).item() == pytest.approx(expected, abs=1e-9)


def test_what_the_other_reward_favours_is_pushed_more(scores_of):
    scores = scores_of([[0.0, 0.0]], utility=two(1.0, 0.0))
    pulls = []
    for utility in (two(1.0, 0.0), two(0.0, 1.0)):
        policy = scores.policy.clone().requires_grad_()
        loss = modpo(replace(scores, policy=policy, utility=utility)).sum()
        pulls.append(-torch.autograd.grad(loss, policy)[0][0, 0].item())
    assert pulls[0] > pulls[1] > 0


def test_without_the_other_reward_it_refuses(scores_of):
    with pytest.raises(ObjectiveError, match="modpo needs `utility`"):
        modpo(scores_of([[3.0, -1.0]]))
