"""Losses that were made for denoising models: values by hand, and what they reduce to."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from prefine.errors import ObjectiveError
from prefine.objectives import (
    clipped_dpo,
    diffusion_kto,
    dpo,
    lipo,
    mapo,
    reward_weighted,
    sft,
    smoothed_dpo,
)
from prefine.objectives.denoising import _bounded
from prefine.scores import Scores


def pair(h: list[float], **more: Any) -> Scores:
    policy = torch.tensor([h], dtype=torch.float64)
    return Scores(policy, torch.ones_like(policy), reference=torch.zeros_like(policy), **more)


def errors(*values: float) -> Scores:
    error = torch.tensor(values, dtype=torch.float64)[None, :, None]
    zeros = torch.zeros(1, len(values), dtype=torch.float64)
    mask = torch.ones_like(error, dtype=torch.bool)
    return Scores(zeros, zeros, elements={"error": error, "mask": mask})


def psi(error: float, k: float = 0.5) -> float:
    return k * error / math.expm1(k * error)


def test_mapo_by_hand() -> None:
    expected = 0.2 - 0.1 * math.log(1 / (1 + math.exp(-1000 * (psi(0.2) - psi(0.5)))))
    assert float(mapo(errors(0.2, 0.5))) == pytest.approx(expected)


def test_the_bounded_likelihood_is_smooth_at_nought() -> None:
    z = torch.tensor([0.0, 1e-6, 0.9e-4, 1.1e-4, 1.0, 50.0], dtype=torch.float64)
    exact = torch.tensor([1.0, *(v / math.expm1(v) for v in z[1:].tolist())], dtype=torch.float64)
    assert torch.allclose(_bounded(z), exact, rtol=1e-8)
    (slope,) = torch.autograd.grad(_bounded(at := torch.zeros(1, requires_grad=True)).sum(), at)
    assert float(slope) == pytest.approx(-0.5)


def test_mapo_takes_the_mean_over_draws() -> None:
    several = errors(0.2, 0.5)
    twice = torch.cat([several.elements["error"] - 0.1, several.elements["error"] + 0.1], -1)
    drawn = Scores(several.policy, several.length,
                   elements={"error": twice, "mask": torch.ones_like(twice).bool()})  # fmt: skip
    assert float(mapo(drawn)) == pytest.approx(float(mapo(several)))


def points(h: list[float], good: list[bool]) -> Scores:
    policy = torch.tensor(h, dtype=torch.float64)[:, None]
    label = torch.tensor(good, dtype=torch.float64)[:, None]
    return Scores(policy, torch.ones_like(policy), reference=torch.zeros_like(policy), label=label)


@pytest.mark.parametrize(
    ("utility", "of"),
    [
        ("sigmoid", lambda u: 1 - 1 / (1 + math.exp(-u))),
        ("loss_averse", lambda u: math.log(1 + math.exp(-u))),
        ("risk_seeking", lambda u: 1 - math.exp(min(u, 0))),
    ],
)
def test_diffusion_kto_by_hand(utility: Any, of: Any) -> None:
    given = points([3.0, -1.0, 1.0], [True, False, False])  # the baseline is 1
    found = diffusion_kto(given, beta=0.5, desirable_weight=2.0, utility=utility)
    expected = [2 * of(0.5 * (3 - 1)), of(0.5 * (1 + 1)), of(0.5 * (1 - 1))]
    assert found.tolist() == pytest.approx(expected)


def test_the_baseline_is_no_less_than_nought_and_has_no_gradient() -> None:
    given = points([-3.0, -1.0], [True, False])
    assert diffusion_kto(given, beta=1.0)[0] == pytest.approx(1 - 1 / (1 + math.exp(3)))
    policy = torch.tensor([[3.0], [1.0]], dtype=torch.float64, requires_grad=True)
    label = torch.tensor([[1.0], [0.0]], dtype=torch.float64)
    live = Scores(policy, torch.ones(2, 1), reference=torch.zeros(2, 1), label=label)
    (slope,) = torch.autograd.grad(diffusion_kto(live, beta=1.0)[0], policy)
    assert slope[1] == 0


def test_clipped_dpo_is_dpo_above_its_floor_and_leaves_the_loser_below() -> None:
    assert torch.equal(clipped_dpo(pair([1.0, -0.5]), beta=2.0), dpo(pair([1.0, -0.5]), beta=2.0))
    policy = torch.tensor([[1.0, -3.0]], requires_grad=True)
    scores = Scores(policy, torch.ones(1, 2), reference=torch.zeros(1, 2))
    (slope,) = torch.autograd.grad(clipped_dpo(scores, beta=2.0, floor=1.0).sum(), policy)
    assert slope[0, 0] < 0
    assert slope[0, 1] == 0


def test_smoothed_dpo_weighs_by_the_reward() -> None:
    reward = torch.tensor([[5.0, 2.0]], dtype=torch.float64)
    given = pair([0.7, -0.2], utility=reward)
    factor = 10 * (2 / (1 + math.exp(-3 / 10)) - 1)
    found = smoothed_dpo(given, beta=1.0, low=0.0, high=10.0)
    assert torch.allclose(found, dpo(pair([0.7, -0.2]), beta=factor))
    tied = pair([0.7, -0.2], utility=torch.tensor([[5.0, 5.0]], dtype=torch.float64))
    assert float(smoothed_dpo(tied, high=10.0)) == pytest.approx(math.log(2))
    over = pair([0.7, -0.2], utility=reward.flip(1))
    assert float(smoothed_dpo(over, beta=1.0, high=10.0)) > math.log(2), "the reward overrules"
    with pytest.raises(ObjectiveError, match="high must be above low"):
        smoothed_dpo(given, low=1.0, high=1.0)


def test_reward_weighted_is_imitation_at_the_centre() -> None:
    policy = torch.tensor([[-2.0], [-3.0]])
    reward = torch.tensor([[1.0], [3.0]])
    given = Scores(policy, torch.ones(2, 1), utility=reward)
    found = reward_weighted(given, temperature=2.0, centre=1.0)
    assert found[0] == sft(given)[0]
    assert float(found[1]) == pytest.approx(3 * math.e)
    assert float(reward_weighted(given, temperature=0.1, largest=7.0)[1]) == pytest.approx(21)


def graded(h: list[float], labels: list[float]) -> Scores:
    return pair(h, utility=torch.tensor([labels], dtype=torch.float64))


def test_rank_dpo_discounts_by_labels() -> None:
    two = graded([0.3, -0.4], [1.0, 0.0])
    weight = 1 / math.log(2) - 1 / math.log(3)
    ours = lipo(two, beta=1.0, rank_by="labels")
    assert torch.allclose(ours, weight * dpo(pair([0.3, -0.4]), beta=1.0))
    wrong: Tensor = lipo(graded([-1.0, 0.5, 2.0], [1.0, 0.5, 0.0]), rank_by="labels")
    policy = lipo(graded([-1.0, 0.5, 2.0], [1.0, 0.5, 0.0]))
    assert not torch.allclose(wrong, policy)
    agreed = graded([2.0, 0.5, -1.0], [1.0, 0.5, 0.0])
    assert torch.allclose(lipo(agreed, rank_by="labels"), lipo(agreed)), "where both orders agree"
    tied = graded([0.3, -0.4], [1.0, 1.0])
    assert float(lipo(tied, rank_by="labels")) == 0
