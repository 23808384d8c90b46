"""Samples estimate what a list gives exactly, and labels are what their definition says."""

import math

import pytest
import torch

from prefine.errors import ConfigError
from prefine.estimators import (
    both_orders,
    leave_one_out,
    mixture,
    pair_weights,
    ranked_pairs,
    reinforce,
)

LOGITS = torch.tensor([0.5, -0.3, 1.1], dtype=torch.float64)
REWARD = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)


def test_reinforce_has_the_gradient_of_the_expected_reward() -> None:
    logits = LOGITS.clone().requires_grad_()
    policy = logits.log_softmax(0)
    exact = torch.autograd.grad((policy.exp() * REWARD).sum(), logits, retain_graph=True)[0]
    terms = reinforce(policy, REWARD - 7.0)  # any baseline
    weighted = (policy.detach().exp() * terms).sum()
    torch.testing.assert_close(torch.autograd.grad(weighted, logits)[0], -exact)


def test_no_gradient_goes_through_the_advantage() -> None:
    reward = torch.tensor([2.0], requires_grad=True)
    log_prob = torch.tensor([-1.0], requires_grad=True)
    reinforce(log_prob, reward).sum().backward()
    assert reward.grad is None
    assert log_prob.grad is not None
    assert log_prob.grad.item() == -2.0


def test_leave_one_out_by_hand() -> None:
    # 1 - (2 + 6) / 2, 2 - (1 + 6) / 2, 6 - (1 + 2) / 2
    assert leave_one_out(torch.tensor([[1.0, 2.0, 6.0]])).tolist() == [[-3.0, -1.5, 4.5]]
    assert leave_one_out(torch.tensor([[3.0, 1.0]])).tolist() == [[2.0, -2.0]]
    with pytest.raises(ConfigError, match="single sample"):
        leave_one_out(torch.ones(4, 1))


def test_leave_one_out_leaves_the_gradient_unbiased() -> None:
    """Over all pairs of samples, each as often as it is drawn."""
    logits = LOGITS.clone().requires_grad_()
    policy = logits.log_softmax(0)
    both = torch.cartesian_prod(torch.arange(3), torch.arange(3))
    terms = reinforce(policy[both], leave_one_out(REWARD[both])).mean(1)
    weighted = (policy.detach()[both].sum(1).exp() * terms).sum()
    exact = torch.autograd.grad((policy.exp() * REWARD).sum(), logits, retain_graph=True)[0]
    torch.testing.assert_close(torch.autograd.grad(weighted, logits)[0], -exact)


def test_mixture_goes_from_the_policy_to_the_reference() -> None:
    policy = LOGITS.log_softmax(0).requires_grad_()
    reference = torch.zeros_like(LOGITS).log_softmax(0)
    assert not mixture(policy, reference, 0.3).requires_grad
    torch.testing.assert_close(mixture(policy, reference, 0.0), policy.detach())
    torch.testing.assert_close(mixture(policy, reference, 1.0), reference)
    torch.testing.assert_close(mixture(policy, reference, 0.5), (LOGITS / 2).log_softmax(0))
    with pytest.raises(ConfigError, match="`share` must be in"):
        mixture(policy, reference, 1.5)


def test_pair_weights_are_products() -> None:
    sampler = torch.tensor([[0.2, 0.8], [0.5, 0.5]], dtype=torch.float64).log()
    prompt, response = torch.tensor([0, 0, 1]), torch.tensor([[0, 1], [1, 1], [1, 0]])
    found = pair_weights(sampler.requires_grad_(), prompt, response)
    assert found.tolist() == pytest.approx([0.16, 0.64, 0.25])
    assert not found.requires_grad


def test_both_orders_cancel_a_taste_for_the_first() -> None:
    gap = torch.tensor([[0.0, 1.0], [-1.0, 0.0]], dtype=torch.float64)
    fair = both_orders(torch.sigmoid(gap + 0.7))
    torch.testing.assert_close(fair + fair.mT, torch.ones(2, 2, dtype=torch.float64))
    assert fair[0, 0] == 0.5
    # (sigma(1.7) + 1 - sigma(-0.3)) / 2
    expected = (1 / (1 + math.exp(-1.7)) + 1 - 1 / (1 + math.exp(0.3))) / 2
    assert fair[0, 1].item() == pytest.approx(expected)


def test_neighbours_and_the_first_with_all() -> None:
    strength = torch.tensor([0.0, 3.0, 1.0, 2.0])
    pairs, label = ranked_pairs(torch.sigmoid(strength[:, None] - strength))
    # the order is 1, 3, 2, 0
    assert pairs.tolist() == [[1, 3], [1, 2], [1, 0], [3, 2], [2, 0]]
    assert label.tolist() == pytest.approx([1 / (1 + math.exp(-d)) for d in (1, 2, 3, 1, 1)])


def test_a_judge_who_contradicts_its_order_has_the_last_word() -> None:
    better = torch.tensor([[0.5, 0.4, 0.9], [0.6, 0.5, 0.55], [0.1, 0.45, 0.5]])
    pairs, label = ranked_pairs(better)  # 0 is preferred most, but not to 1
    assert pairs.tolist() == [[1, 0], [0, 2], [1, 2]]
    assert label.tolist() == pytest.approx([0.6, 0.9, 0.55])
    with pytest.raises(ConfigError, match="must be"):
        ranked_pairs(torch.ones(2, 3))
