"""The likelihood of a reason, by hand, and the published form of it."""

import math

import pytest
import torch

from prefine.errors import ConfigError, ObjectiveError
from prefine.objectives.rationale import rationale_likelihood
from prefine.scores import Scores

REASONS = Scores(
    torch.tensor([[-6.0], [-200.0]], dtype=torch.float64),
    torch.tensor([[4.0], [100.0]], dtype=torch.float64),
)


def test_the_mean_by_hand() -> None:
    found = rationale_likelihood(REASONS, gamma=0.5)
    assert found.tolist() == [0.5 * 6 / 4, 0.5 * 200 / 100]


def test_the_published_sum_by_hand() -> None:
    found = rationale_likelihood(REASONS, gamma=0.1, summed=True)
    # -log sigma(-0.6) = log(1 + e^0.6); at -20 it is 20 but for e^-20
    assert found.tolist() == pytest.approx([math.log1p(math.exp(0.6)), 20 + math.exp(-20)])


def test_the_published_sum_has_a_gradient_of_gamma_where_reasons_are_long() -> None:
    policy = torch.tensor([[-200.0]], dtype=torch.float64, requires_grad=True)
    rationale_likelihood(Scores(policy, torch.ones(1, 1)), gamma=0.1, summed=True).sum().backward()
    assert policy.grad is not None
    assert float(policy.grad) == pytest.approx(-0.1, rel=1e-6)  # -gamma sigma(20)


def test_one_reason_a_row() -> None:
    with pytest.raises(ObjectiveError, match="one response at a time"):
        rationale_likelihood(Scores(torch.zeros(1, 2), torch.ones(1, 2)))
    with pytest.raises(ConfigError, match="gamma"):
        rationale_likelihood(REASONS, gamma=0.0)
