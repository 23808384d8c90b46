"""A fast policy is asked to lead, a slow one to catch up; the other has no gradient."""

import math
from dataclasses import replace
from functools import partial

import pytest
import torch

from prefine.errors import ConfigError, ObjectiveError
from prefine.objectives import dpo, kto, sft
from prefine.objectives.chase import chasing
from prefine.objectives.declare import spec
from prefine.scores import Scores

F64 = torch.float64


def nll(logit: float) -> float:
    return math.log1p(math.exp(-logit))


def pair(own: float, twin: float) -> Scores:
    """Margins against a reference that is even."""
    return Scores(
        torch.tensor([[own, 0.0]], dtype=F64), torch.ones(1, 2, dtype=F64),
        reference=torch.zeros(1, 2, dtype=F64),
        others={"twin": torch.tensor([[twin, 0.0]], dtype=F64)},
    )  # fmt: skip


def test_numbers_worked_out_by_hand() -> None:
    # fast margin 3, slow margin 1, beta 0.5: the chase is nll(0.5 * 2) for both roles
    loss = partial(dpo, beta=0.5)
    fast = chasing(loss, role="fast", alpha=0.4, beta=0.5)(pair(3.0, 1.0))
    slow = chasing(loss, role="slow", alpha=0.4, beta=0.5)(pair(1.0, 3.0))
    assert fast.item() == pytest.approx(nll(1.5) + 0.4 * nll(1.0), abs=1e-12)
    assert slow.item() == pytest.approx(nll(0.5) - 0.4 * nll(1.0), abs=1e-12)


@pytest.mark.parametrize(("role", "own", "twin"), [("fast", 3.0, 1.0), ("slow", 1.0, 3.0)])
def test_both_are_pulled_the_same_way(role: str, own: float, twin: float) -> None:
    """The chase adds alpha beta sigma(-u) to the pull on the margin, u = 0.5 * 2."""
    scores = pair(own, twin)
    scores.policy.requires_grad_()
    scores.others["twin"].requires_grad_()
    plain = torch.autograd.grad(dpo(scores, beta=0.5).sum(), scores.policy)[0]
    loss = chasing(partial(dpo, beta=0.5), role=role, alpha=0.4, beta=0.5)  # type: ignore[arg-type]
    loss(scores).sum().backward()
    more = 0.4 * 0.5 / (1 + math.exp(1.0))
    torch.testing.assert_close(scores.policy.grad, plain + torch.tensor([[-more, more]], dtype=F64))
    assert scores.others["twin"].grad is None


def test_beyond_the_limit_there_is_nothing_to_gain() -> None:
    scores = pair(0.0, 1e6)
    scores.policy.requires_grad_()
    loss = chasing(dpo, role="slow", alpha=0.9, beta=1.0, limit=10.0)
    value = loss(scores)
    value.sum().backward()
    assert value.item() == pytest.approx(nll(0.0) - 0.9 * nll(10.0))
    torch.testing.assert_close(scores.policy.grad, torch.tensor([[-0.05, 0.05]], dtype=F64))


def test_without_a_share_it_is_the_loss_inside() -> None:
    scores = pair(2.0, -1.0)
    torch.testing.assert_close(chasing(dpo, role="slow", alpha=0.0)(scores), dpo(scores))


def test_what_it_says_of_itself() -> None:
    declared = spec(chasing(dpo, role="slow", alpha=0.3))
    assert declared.needs.others == {"twin"}
    assert declared.formula.endswith("- 0.3 [-log sigma(0.1 (m_fast - m_slow))]")


def test_bad_input_is_named() -> None:
    with pytest.raises(ObjectiveError, match="needs the scores of the other policy"):
        chasing(dpo, role="fast")(replace(pair(1.0, 1.0), others={}))
    with pytest.raises(ObjectiveError, match="takes a pair loss, but sft"):
        chasing(sft, role="fast")
    with pytest.raises(ObjectiveError, match="cannot hold kto"):
        chasing(kto(), role="fast")
    with pytest.raises(ConfigError, match="`alpha` must be in"):
        chasing(dpo, role="slow", alpha=1.0)
    with pytest.raises(ConfigError, match="`role` must be"):
        chasing(dpo, role="third")  # type: ignore[arg-type]
