"""The equilibrium is where it is said to be."""

import pytest
import torch

from prefine.ledger.worlds.games import Game

EVEN = torch.full((3,), 1 / 3, dtype=torch.float64).log()
CYCLE = torch.tensor([[0.5, 0.9, 0.1], [0.1, 0.5, 0.9], [0.9, 0.1, 0.5]], dtype=torch.float64)


def test_a_fair_cycle_ends_even() -> None:
    game = Game(CYCLE, EVEN)
    torch.testing.assert_close(game.fixed_point(0.2), EVEN)
    assert game.gap(EVEN, 0.2) == pytest.approx(0.0, abs=1e-12)


def test_who_always_plays_one_response_can_be_beaten() -> None:
    game = Game(CYCLE, EVEN)
    stubborn = torch.tensor([0.98, 0.01, 0.01], dtype=torch.float64).log()
    assert game.answer(stubborn, 0.2).argmax() == 2
    assert game.gap(stubborn, 0.2) > 0.1


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_fixed_points_are_their_own_answer(seed: int, share: float) -> None:
    game = Game.drawn(seed)
    found = game.fixed_point(0.2, share)
    against = ((1 - share) * found + share * game.reference).log_softmax(0)
    torch.testing.assert_close(found, game.answer(against, 0.2))
    assert (game.gap(found, 0.2) < 1e-9) is (share == 0)


def test_odds_are_of_two_sides() -> None:
    game = Game.drawn(0)
    torch.testing.assert_close(game.better + game.better.mT, torch.ones(5, 5).double())
    rows = game.every_pair()
    assert len(rows) == 20
    assert float(rows.weight.sum()) == pytest.approx(1.0)
    assert rows.fields["prob"][0] == game.better[0, 1]
