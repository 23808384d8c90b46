"""Unlikelihood on edited tokens alone."""

import math

import pytest
import torch

from prefine.objectives import salt
from prefine.objectives.links import log1mexp
from prefine.scores import Scores

F64 = torch.float64


def pair(chosen: list[float], rejected: list[float], edits: list[list[int]]) -> Scores:
    """A pair from token probabilities; 0 stands for no token."""
    table = torch.tensor([[chosen, rejected]], dtype=F64)
    mask = table > 0
    log_prob = torch.where(mask, table, 1.0).log().requires_grad_()
    return Scores(
        log_prob.sum(2), mask.sum(2).double(),
        elements={"log_prob": log_prob, "mask": mask, "edited": torch.tensor([edits]).double()},
    )  # fmt: skip


def test_numbers_worked_out_by_hand() -> None:
    scores = pair([0.5, 0.25, 0.5], [0.5, 0.9, 0.0], [[0, 1, 0], [0, 1, 0]])
    # (log 2 + 1.5 log 4 + log 2) / 3 = 5/3 log 2; 0.2 log 10 for the one edited token
    found = salt(scores, edited_weight=1.5, unlikelihood=0.2)
    expected = 5 / 3 * math.log(2) + 0.2 * math.log(10)
    torch.testing.assert_close(found, torch.tensor([expected], dtype=F64))


def test_what_is_shared_is_not_pushed_down() -> None:
    scores = pair([0.5, 0.25], [0.5, 0.9], [[0, 1], [0, 1]])
    (grad,) = torch.autograd.grad(salt(scores).sum(), scores.elements["log_prob"])
    assert grad[0, 1, 0] == 0
    assert grad[0, 1, 1] > 0
    assert (grad[0, 0] < 0).all()


def test_without_edits_it_imitates() -> None:
    scores = pair([0.5, 0.25], [0.5, 0.9], [[0, 0], [0, 0]])
    torch.testing.assert_close(salt(scores), torch.tensor([1.5 * math.log(2)], dtype=F64))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_certain_token_is_bounded(dtype: torch.dtype) -> None:
    scores = pair([0.5], [1.0], [[1], [1]])
    elements = {name: values.to(dtype) for name, values in scores.elements.items()}
    found = salt(Scores(scores.policy.to(dtype), scores.length, elements=elements))
    # 1.1 log 2 + 0.01 log 10^6
    expected = 1.1 * math.log(2) + 0.01 * math.log(1e6)
    assert found.item() == pytest.approx(expected, rel=1e-3)


def test_the_authors_normalisation_is_a_constant() -> None:
    """log_softmax of log(1 - p) over the vocabulary takes log(V - 1) off, whatever the policy."""
    log_probs = torch.randn(6, 40, dtype=F64, requires_grad=True).log_softmax(-1)
    ours = log1mexp(log_probs)
    theirs = (1 - log_probs.exp()).log().log_softmax(-1)
    torch.testing.assert_close(theirs, ours - math.log(39))
