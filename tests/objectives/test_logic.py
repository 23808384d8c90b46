"""Structures by hand, the order they are in, and named losses against their truth tables."""

import itertools
import math
from dataclasses import replace

import pytest
import torch
from tests.objectives.plain import losses, random_pairs

from prefine.errors import ObjectiveError
from prefine.objectives import sft
from prefine.objectives.declare import spec
from prefine.objectives.logic import MEANINGS, assignments, from_events, structure
from prefine.scores import Scores

EXACT = {"rtol": 1e-9, "atol": 1e-9}


def probable_pairs() -> Scores:
    """Pairs whose reference, too, gives log-probabilities below 0."""
    pairs = random_pairs(rows=200)
    assert pairs.reference is not None
    return replace(pairs, reference=-0.1 - pairs.reference.abs())


PAIRS = probable_pairs()
MEANS = PAIRS.policy / PAIRS.length


def built(name: str, **options: object) -> torch.Tensor:
    return from_events(*MEANINGS[name].formulas, **options)(PAIRS)  # type: ignore[arg-type]


# --- Truth tables ---


def test_rows_by_hand() -> None:
    """Of (w, l): 0 neither, 1 the worse alone, 2 the better alone, 3 both."""
    assert assignments(2) == [(False, False), (False, True), (True, False), (True, True)]
    found = {
        name: (sorted(made.wins), sorted(made.loses))
        for name in ("ce_unlikelihood", "cpo", "orpo", "unconstrained_cpo")
        for made in [structure(*MEANINGS[name].formulas)]
    }
    assert found == {
        "ce_unlikelihood": ([2], [0, 1, 3]),
        "cpo": ([2, 3], [1, 3]),
        "orpo": ([2], [1]),
        "unconstrained_cpo": ([0, 2, 3], [1]),
    }


def test_odds_by_hand() -> None:
    """w = 0.5, l = 0.25: the better alone 0.375, the worse alone 0.125, both 0.125, none 0.375."""
    log_prob = torch.tensor([[0.5, 0.25]], dtype=torch.float64).log()
    expected = {
        "ce_unlikelihood": 0.375 / 0.625,
        "cpo": 0.5 / 0.25,
        "orpo": 0.375 / 0.125,
        "unconstrained_cpo": 0.875 / 0.125,
    }
    for name, odds in expected.items():
        found = structure(*MEANINGS[name].formulas).odds(log_prob).item()
        assert found == pytest.approx(math.log(odds), abs=1e-12), name


@pytest.mark.parametrize(
    ("formulas", "message"),
    [
        (("w and x",), "No event is called x"),
        (("w +",), "cannot be read"),
        (("w + l",), r"`w \+ l` is no formula"),
        (("w and 1",), "`1` is no formula"),
        (("True",), "Nothing can lose"),
        (("w", "False"), "Nothing can win"),
    ],
)
def test_what_is_no_statement_is_refused(formulas: tuple[str, ...], message: str) -> None:
    with pytest.raises(ObjectiveError, match=message):
        structure(*formulas)


# --- The order ---


def test_named_structures_are_ordered() -> None:
    made = {
        name: structure(*MEANINGS[name].formulas, events=("w", "l"))
        for name in MEANINGS
        if name not in ("dpo", "simpo")
    }
    order = {(a, b) for a, b in itertools.permutations(made, 2) if made[a].entails(made[b])}
    assert order == {
        ("ce_unlikelihood", "ce"),
        ("ce_unlikelihood", "orpo"),
        ("ce_unlikelihood", "cpo"),
        ("ce_unlikelihood", "unconstrained_cpo"),
        ("ce", "unconstrained_cpo"),
        ("cpo", "unconstrained_cpo"),
        ("orpo", "unconstrained_cpo"),
    }
    values = {name: built(name, mean=True) for name in made}
    for stronger, weaker in order:
        assert (values[stronger] >= values[weaker] - 1e-12).all(), (stronger, weaker)
    unordered = [pair for pair in itertools.permutations(made, 2) if pair not in order]
    assert any((values[a] < values[b]).any() for a, b in unordered)


def test_other_events_are_not_compared() -> None:
    with pytest.raises(ObjectiveError, match="cannot be compared"):
        structure("w").entails(structure("w and not l"))


# --- Named losses ---


def test_dpo() -> None:
    torch.testing.assert_close(built("dpo", beta=0.3), losses("dpo", PAIRS, beta=0.3), **EXACT)


def test_cpo() -> None:
    found = from_events(*MEANINGS["cpo"].formulas, beta=0.3)(PAIRS)
    named = losses("cpo", PAIRS, beta=0.3, likelihood_weight=0.0)
    torch.testing.assert_close(found, named, **EXACT)


def test_orpo() -> None:
    named = losses("orpo", PAIRS, odds_weight=1.0) + MEANS[:, 0]
    torch.testing.assert_close(built("orpo", mean=True), named, **EXACT)


def test_simpo() -> None:
    found = built("simpo", mean=True, beta=2.5, reference=(-1.0, -1.4))
    named = losses("simpo", PAIRS, beta=2.5, gamma_over_beta=0.4)
    torch.testing.assert_close(found, named, **EXACT)


def test_likelihood() -> None:
    chosen = sft(PAIRS.take(torch.zeros(len(PAIRS.policy), 1, dtype=torch.long)))
    torch.testing.assert_close(built("ce", mean=True), chosen, **EXACT)
    unlikelihood = -torch.log1p(-MEANS[:, 1].exp())
    torch.testing.assert_close(built("ce_unlikelihood", mean=True), chosen + unlikelihood, **EXACT)


def test_unconstrained_cpo() -> None:
    w, l = MEANS.exp().unbind(1)  # noqa: E741
    odds = (1 - l * (1 - w)) / (l * (1 - w))
    found = built("unconstrained_cpo", mean=True)
    torch.testing.assert_close(found, torch.log1p(1 / odds), **EXACT)


# --- As an objective ---


def test_it_declares_what_it_reads() -> None:
    assert spec(from_events(*MEANINGS["dpo"].formulas)).needs.reference
    assert not spec(
        from_events(*MEANINGS["simpo"].formulas, reference=(-1.0, -1.0))
    ).needs.reference
    assert "given (w != l)" in spec(from_events(*MEANINGS["orpo"].formulas, beta=0.3)).formula
    assert "0.3" in spec(from_events("w", beta=0.3)).formula


@pytest.mark.parametrize("name", sorted(MEANINGS))
def test_finite_and_smooth_far_out(name: str) -> None:
    loss = from_events(*MEANINGS[name].formulas)
    corners = [[a, b] for a in (-1e4, -1.0, 0.0) for b in (-1e4, -1.0, 0.0)]
    policy = torch.tensor(corners, dtype=torch.float64, requires_grad=True)
    ones = torch.ones_like(policy)
    loss(Scores(policy, ones, reference=-ones)).sum().backward()
    assert policy.grad is not None
    assert policy.grad.isfinite().all()
