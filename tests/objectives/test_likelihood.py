import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from prefine.errors import ObjectiveError
from prefine.objectives import poft, sft
from prefine.objectives.declare import spec


def test_sft_by_hand(rewards_of):
    # 6 nats over 4 tokens, 1 nat over 2
    losses = sft(rewards_of([[-6.0], [-1.0]], [[4.0], [2.0]]))
    assert losses.tolist() == [1.5, 0.5]


@given(st.lists(st.tuples(st.floats(-100, 0), st.integers(1, 30)), min_size=1, max_size=8))
def test_weighted_by_units_it_is_the_mean_over_tokens(rewards_of, rows):
    """sum(n * loss) / sum(n) = sum of nats / number of tokens: every token counts the same."""
    scores = rewards_of([[nats] for nats, _ in rows], [[float(n)] for _, n in rows])
    units = scores.length[:, 0]
    total = (units * sft(scores)).sum() / units.sum()
    expected = -sum(nats for nats, _ in rows) / sum(n for _, n in rows)
    assert spec(sft).per == "unit"
    assert total.item() == pytest.approx(expected, abs=1e-9)


def test_an_empty_response_costs_nothing(rewards_of):
    assert sft(rewards_of([[0.0]], [[0.0]])).abs().item() == 0


def test_a_pair_is_refused(rewards_of):
    with pytest.raises(ObjectiveError, match="one response at a time, but a row holds 2"):
        sft(rewards_of([[-6.0, -1.0]]))


def test_half_precision_is_widened_before_anything_is_subtracted(rewards_of):
    half = rewards_of([[-6.0]], [[4.0]])
    loss = sft(type(half)(half.policy.to(torch.bfloat16), half.length.to(torch.bfloat16)))
    assert loss.dtype == torch.float32


# --- poft: l / n = -6 / 3 = -2, s = -1: logit -1 ---


def test_poft_by_hand(rewards_of):
    points = rewards_of(
        [[-6.0], [-6.0], [0.0]],
        [[3.0], [3.0], [0.0]],
        utility=torch.tensor([[-1.0], [-2.0], [-1.0]], dtype=torch.float64),
    )
    # log(1 + e), log 2, and an empty response: log(1 + e^-1)
    expected = [math.log1p(math.e), math.log(2), math.log1p(math.exp(-1))]
    assert poft(points).tolist() == pytest.approx(expected, abs=1e-12)


@given(st.floats(-50, 0), st.integers(1, 30), st.floats(-5, 0))
def test_the_gradient_of_poft_is_that_of_sft_times_how_far_others_are_ahead(
    rewards_of, nats, n, other
):
    utility = torch.tensor([[other]], dtype=torch.float64)
    points = rewards_of([[nats]], float(n), utility=utility)
    gradients = []
    for loss in (sft, poft):
        policy = points.policy.clone().requires_grad_()
        gradients.append(torch.autograd.grad(loss(replace(points, policy=policy)).sum(), policy)[0])
    ahead = torch.sigmoid(utility - points.policy / n)
    torch.testing.assert_close(gradients[1], gradients[0] * ahead)
