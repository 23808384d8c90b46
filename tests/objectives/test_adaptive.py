"""Losses that carry a statistic from step to step."""

import math

import pytest
import torch
from tests.objectives.plain import cost, losses, sigma

from prefine.objectives.registry import build
from prefine.scores import Scores


def thumbs(rewards: list[float], labels: list[bool], weight: list[float] | None = None) -> Scores:
    column = torch.tensor(rewards, dtype=torch.float64)[:, None]
    return Scores(
        column,
        torch.ones_like(column),
        reference=torch.zeros_like(column),
        label=torch.tensor(labels)[:, None],
        weight=None if weight is None else torch.tensor(weight),
    )


def test_the_threshold_of_bco_lies_between_both_means() -> None:
    loss = build("bco", {"beta": 1.0, "decay": 0.5})
    step = thumbs([4.0, 4.0, 1.0, 90.0], [True, True, False, False], [1, 1, 1, 0])
    loss.update(loss.observe(step))
    assert loss.threshold == 2.5  # rows without weight do not count
    loss.update(loss.observe(thumbs([0.0], [True])))
    # liked: (0.5 x 8 + 0) / (0.5 x 2 + 1) = 2; disliked keeps its mean of 1
    assert loss.threshold == 1.5
    pooled = build("bco", {"beta": 1.0, "decay": 0.5, "balanced": False})
    pooled.update(pooled.observe(step))
    assert pooled.threshold == 3.0
    again = build("bco", {"beta": 1.0, "decay": 0.5})
    again.load_state_dict(loss.state_dict())
    assert again.threshold == loss.threshold


def test_bco_bounds_dpo_most_tightly_in_the_middle() -> None:
    liked, disliked = torch.randn(1000).double() + 4, torch.randn(1000).double() + 2
    pairs = Scores(
        torch.stack([liked, disliked], 1), torch.ones(1000, 2), reference=torch.zeros(1000, 2)
    )
    bound = {}
    for threshold in (0.0, 3.0, 6.0):
        loss = build("bco", {"beta": 1.0})
        loss.load_state_dict({"good": threshold, "good_count": 1, "bad": 0, "bad_count": 0})
        both = [loss(thumbs(r.tolist(), [good] * 1000)) for r, good in
                ((liked, True), (disliked, False))]  # fmt: skip
        gap = both[0] + both[1] - losses("dpo", pairs, beta=1.0)
        assert (gap >= 0).all()
        bound[threshold] = gap.mean().item()
    assert bound[3.0] < min(bound[0.0], bound[6.0])


def test_alpha_dpo_demands_more_of_rows_that_are_ahead() -> None:
    loss = build("alpha_dpo", {"beta": 1.0, "gamma_over_beta": 0.0, "alpha": 1.0})
    reference = torch.zeros(3, 2)
    policy = torch.tensor([[0.0, 0.0], [2.0, 0.0], [4.0, 0.0]], requires_grad=True)
    scores = Scores(policy, torch.ones(3, 2), reference=reference)
    loss.update(loss.observe(scores))
    assert loss.centre == (2.0, pytest.approx(math.sqrt(8 / 3)))
    found = loss(scores)
    z = math.sqrt(3 / 2)
    assert found.tolist() == pytest.approx([cost(z), cost(2.0), cost(4.0 - z)], rel=1e-5)
    found.sum().backward()
    assert policy.grad is not None  # the margin carries none: -sigma(-(2 - 0)) for the middle row
    assert policy.grad[1, 0].item() == pytest.approx(-sigma(-2.0), rel=1e-5)
    first = loss.centre
    for _ in range(3):  # the same step again moves nothing: no bias towards 0
        loss.update(loss.observe(scores))
    assert loss.centre == pytest.approx(first)
