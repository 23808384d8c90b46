"""Every pair loss again in plain Python, straight from its paper's formula; then identities."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.objectives.plain import Pair, cost, losses, random_pairs, rows_of, sigma

from prefine.errors import ConfigError
from prefine.objectives.registry import build
from prefine.scores import Scores


def odds(mean: float) -> float:
    return math.log(math.exp(mean) / (1 - math.exp(mean)))


def power(mean: float, alpha: float) -> float:
    return (1 - math.exp(mean) ** -alpha) / alpha


def exo(z: float, e: float) -> float:
    return sigma(z) * math.log(sigma(z) / (1 - e)) + sigma(-z) * math.log(sigma(-z) / e)


def lrml(rho: float, tau: float) -> float:
    s = sigma(rho / tau)
    return (1 - s) * cost(rho) + s * math.exp(-rho)


PAIRS: dict[str, tuple[dict[str, Any], Callable[[Pair], float]]] = {
    "dpo": ({"beta": 0.3}, lambda p: cost(0.3 * p.m)),
    "ipo": (
        {"tau": 0.3},
        lambda p: (p.a / p.nw - p.b / p.nl - 1 / 0.6) ** 2,
    ),
    "simpo": (
        {"beta": 2.5, "gamma_over_beta": 0.4},
        lambda p: cost(2.5 * (p.mw - p.ml) - 1.0),
    ),
    "robust_dpo": (
        {"beta": 0.3, "label_noise": 0.2},
        lambda p: (0.8 * cost(0.3 * p.m) - 0.2 * cost(-0.3 * p.m)) / 0.6,
    ),
    "hinge": ({"beta": 0.3}, lambda p: max(0.0, 1 - 0.3 * p.m)),
    "slic_hf": (
        {"delta": 2.0, "likelihood_weight": 0.3},
        lambda p: max(0.0, 2.0 - p.lw + p.ll) - 0.3 * p.lw,
    ),
    "apo_zero": ({"beta": 0.3}, lambda p: 1 - sigma(0.3 * p.a) + sigma(0.3 * p.b)),
    "apo_down": ({"beta": 0.3}, lambda p: sigma(0.3 * p.a) + 1 - sigma(0.3 * p.m)),
    "orpo": (
        {"odds_weight": 0.4},
        lambda p: -p.mw + 0.4 * cost(odds(p.mw) - odds(p.ml)),
    ),
    "cpo": (
        {"beta": 0.3, "likelihood_weight": 0.5},
        lambda p: cost(0.3 * (p.lw - p.ll)) - 0.5 * p.mw,
    ),
    "alphapo": (
        {"beta": 2.5, "gamma_over_beta": 0.4, "alpha": 0.3},
        lambda p: cost(2.5 * (power(p.mw, 0.3) - power(p.ml, 0.3)) - 1.0),
    ),
    "sppo": (
        {"beta": 0.2},
        lambda p: ((p.a - 0.5 / 0.2) ** 2 + (p.b + 0.5 / 0.2) ** 2) / 2,
    ),
    "nca": (
        {"beta": 0.3},
        lambda p: cost(0.3 * p.a) + (cost(-0.3 * p.a) + cost(-0.3 * p.b)) / 2,
    ),
    "dpop": (
        {"beta": 0.3, "penalty": 2.0},
        lambda p: cost(0.3 * (p.m - 2.0 * max(0.0, -p.a))),
    ),
    "length_regularised_dpo": (
        {"beta": 0.3, "alpha": 0.2},
        lambda p: cost(0.3 * p.m + 0.2 * (p.nw - p.nl)),
    ),
    "length_normalised_dpo": (
        {"beta": 1.5},
        lambda p: cost(1.5 * (p.a / p.nw - p.b / p.nl)),
    ),
    "gamma_dpo": (
        {"beta": 0.3, "gamma": 0.25},
        lambda p: cost(0.3 * (p.lw - p.ll - 0.25 * ((p.lw - p.a) - (p.ll - p.b)))),
    ),
    "exo_preference": ({"beta": 0.3, "smoothing": 0.1}, lambda p: exo(0.3 * p.m, 0.1)),
    "discopop": ({"beta": 0.3, "temperature": 0.4}, lambda p: lrml(0.3 * p.m, 0.4)),
    "f_dpo": (
        {"beta": 0.3, "divergence": "forward_kl"},
        lambda p: cost(0.3 * (math.exp(-p.b) - math.exp(-p.a))),
    ),
    "f_dpo js": (
        {"beta": 0.3, "divergence": "js"},
        lambda p: cost(0.3 * (math.log(sigma(p.a)) - math.log(sigma(p.b)))),
    ),
    "f_dpo alpha": (
        {"beta": 0.3, "divergence": "alpha", "alpha": 0.3},
        lambda p: cost(0.3 / 0.3 * (math.exp(-0.3 * p.b) - math.exp(-0.3 * p.a))),
    ),
    "rpo": (
        {"beta": 0.3, "likelihood_weight": 0.5},
        lambda p: cost(0.3 * p.m) - 0.5 * p.mw,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PAIRS)
def test_pair_losses(name: str) -> None:
    options, by_hand = PAIRS[name]
    scores = random_pairs()
    found = build(name.split()[0], options)(scores).tolist()
    assert found == pytest.approx([by_hand(pair) for pair in rows_of(scores)], rel=1e-9, abs=1e-12)


SOFT = [name for name in PAIRS if name not in ("apo_zero", "apo_down", "dpop", "nca")]


@pytest.mark.parametrize("name", [n for n in SOFT if n not in ("sppo", "rpo", "cpo", "orpo")])
def test_a_soft_label_is_the_mean_over_both_hard_ones(name: str) -> None:
    options, _ = PAIRS[name]
    scores = random_pairs()
    p = torch.linspace(0, 1, len(scores.policy), dtype=torch.float64)
    soft = Scores(scores.policy, scores.length, reference=scores.reference, prob=p)
    there = build(name.split()[0], options)(scores)
    swapped = build(name.split()[0], options)(scores.take(torch.tensor([[1, 0]] * len(p))))
    expected = p * there + (1 - p) * swapped
    if name == "slic_hf":  # the likelihood term stays with the first response
        tail = 0.3 * (scores.policy[:, 1] - scores.policy[:, 0])
        expected = expected + (1 - p) * tail
    torch.testing.assert_close(build(name.split()[0], options)(soft), expected)


# --- Identities ---


def test_label_noise_of_zero_is_dpo() -> None:
    pairs = random_pairs()
    torch.testing.assert_close(losses("robust_dpo", pairs, label_noise=0.0), losses("dpo", pairs))


def test_robust_dpo_is_unbiased() -> None:
    """Its mean over flipped labels is the loss on clean ones; that of cDPO is not."""
    pairs, e = random_pairs(), 0.3
    flipped = pairs.take(torch.tensor([[1, 0]] * len(pairs.policy)))
    clean = losses("dpo", pairs)

    def seen(name: str) -> torch.Tensor:
        there, swapped = (losses(name, s, label_noise=e) for s in (pairs, flipped))
        return (1 - e) * there + e * swapped

    torch.testing.assert_close(seen("robust_dpo"), clean)
    assert (seen("dpo") - clean).abs().max() > 0.1


def test_two_responses_and_a_hard_label_are_dpo() -> None:
    pairs = random_pairs()
    graded = Scores(
        pairs.policy, pairs.length, reference=pairs.reference,
        utility=torch.tensor([[1.0, 0.0]] * len(pairs.policy), dtype=torch.float64),
    )  # fmt: skip
    torch.testing.assert_close(losses("info_nca", graded, beta=0.3), losses("dpo", pairs, beta=0.3))
    torch.testing.assert_close(
        losses("listwise_nca", graded, beta=0.3), losses("nca", pairs, beta=0.3)
    )


def test_the_share_of_the_reference_goes_from_none_to_dpo() -> None:
    pairs = random_pairs()
    torch.testing.assert_close(losses("gamma_dpo", pairs, gamma=1.0), losses("dpo", pairs))
    free = losses("cpo", pairs, likelihood_weight=0.0)
    torch.testing.assert_close(losses("gamma_dpo", pairs, gamma=0.0), free)


def test_divergences_go_over_into_each_other() -> None:
    pairs = random_pairs()
    torch.testing.assert_close(losses("f_dpo", pairs), losses("dpo", pairs))
    near = {"divergence": "alpha"}
    torch.testing.assert_close(
        losses("f_dpo", pairs, alpha=1e-7, **near), losses("dpo", pairs), rtol=1e-5, atol=1e-6
    )
    torch.testing.assert_close(
        losses("f_dpo", pairs, alpha=1 - 1e-9, **near),
        losses("f_dpo", pairs, divergence="forward_kl"),
        rtol=1e-6,
        atol=1e-6,
    )


def test_alpha_goes_with_its_divergence() -> None:
    with pytest.raises(ConfigError, match='`alpha` belongs to `divergence="alpha"`'):
        build("f_dpo", {"alpha": 0.5})
    with pytest.raises(ConfigError, match='`alpha` belongs to `divergence="alpha"`'):
        build("f_dpo", {"divergence": "alpha"})


def test_equal_lengths_are_dpo_with_a_smaller_beta() -> None:
    pairs = random_pairs()
    even = Scores(pairs.policy, torch.full_like(pairs.length, 5.0), reference=pairs.reference)
    torch.testing.assert_close(
        losses("length_normalised_dpo", even, beta=2.0), losses("dpo", even, beta=0.4)
    )
    torch.testing.assert_close(
        losses("length_regularised_dpo", even, alpha=0.3), losses("dpo", even)
    )


def test_the_bend_of_alphapo_goes_over_into_simpo() -> None:
    pairs = random_pairs()
    flat = losses("alphapo", pairs, beta=2.0, gamma_over_beta=0.5, alpha=1e-9)
    torch.testing.assert_close(flat, losses("simpo", pairs), rtol=1e-6, atol=1e-6)


def test_a_longer_winner_is_pushed_less() -> None:
    """The sign of R-DPO: with a minus, responses grow."""
    ratio, length = torch.zeros(1, 2), torch.tensor([[30.0, 10.0]])
    policy = ratio.clone().requires_grad_()
    scores = Scores(policy, length, reference=ratio)
    plain = torch.autograd.grad(losses("dpo", scores).sum(), policy)[0]
    held = torch.autograd.grad(losses("length_regularised_dpo", scores).sum(), policy)[0]
    assert held[0, 0].abs() < plain[0, 0].abs()


def test_the_penalty_of_dpop_has_a_gradient() -> None:
    policy = torch.tensor([[-1.0, -1.0]], requires_grad=True)
    scores = Scores(policy, torch.ones(1, 2), reference=torch.zeros(1, 2))
    losses("dpop", scores, penalty=4.0).sum().backward()
    assert policy.grad is not None
    assert policy.grad[0, 0].item() == pytest.approx(-5 * policy.grad[0, 1].item())


def test_discopop_is_finite_far_out() -> None:
    policy = torch.tensor([[-16000.0, 0.0], [16000.0, 0.0]], requires_grad=True)
    found = losses("discopop", Scores(policy, torch.ones(2, 2), reference=torch.zeros(2, 2)))
    assert found.tolist() == pytest.approx([800.0, 0.0])
    found.sum().backward()
    assert policy.grad is not None
    assert policy.grad.isfinite().all()


def test_discopop_starts_on_the_wrong_side_of_a_hump() -> None:
    """As its docstring warns: from the reference, the slope leads to a negative margin."""
    margin = torch.linspace(-0.5, 0.5, 2001, dtype=torch.float64)
    ratio = torch.stack([margin / 0.05, torch.zeros_like(margin)], 1)
    found = losses("discopop", Scores(ratio, torch.ones_like(ratio), reference=0 * ratio))
    turns = (found.diff().sign().diff() != 0).nonzero().flatten() + 1
    assert margin[turns].tolist() == pytest.approx([-0.118, 0.072], abs=1e-3)
    assert found[1001] > found[1000]


def test_odds_of_a_certain_response() -> None:
    policy = torch.tensor([[0.0, -1e-12], [-1e-7, -800.0]], requires_grad=True)
    found = losses("orpo", Scores(policy, torch.ones(2, 2)))
    found.sum().backward()
    assert found.isfinite().all()
    assert policy.grad is not None
    assert policy.grad.isfinite().all()


def test_graded_sppo_reads_how_often_each_wins() -> None:
    scores = Scores(
        torch.tensor([[1.0, -1.0]]),
        torch.ones(1, 2),
        reference=torch.zeros(1, 2),
        utility=torch.tensor([[0.8, 0.3]]),
    )
    # ((1 - 0.3 / 0.1)^2 + (-1 + 0.2 / 0.1)^2) / 2
    assert losses("sppo", scores, beta=0.1, graded=True).item() == pytest.approx(2.5)
