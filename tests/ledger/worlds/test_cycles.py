"""The crowd goes in a circle, and the mixture that is said to be best is."""

import itertools
import math
import random

import pytest
import torch

from prefine.errors import ConfigError
from prefine.ledger.worlds import words
from prefine.ledger.worlds.annotators import preferences
from prefine.ledger.worlds.cycles import Cycle, best_mixture, is_cyclic

PROMPT = "tell me about the bees and the boat ."
NAMED = "the red bees rest . a cat rests ."
KIND = "the warm cats rest . a cat rests ."
RUDE = "the grim cats rest . a cat rests ."
THREE = (NAMED, KIND, RUDE)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_odds_by_hand() -> None:
    # named against kind: the three groups weigh them 3 : 1.5, 0 : 3 and 1.5 : 0
    expected = (sigmoid(1.5) + sigmoid(-3) + sigmoid(1.5)) / 3
    assert Cycle(1.5).prob_first(PROMPT, NAMED, KIND) == pytest.approx(expected, abs=1e-12)
    # a tenth of the labels turned around
    noisy = Cycle(1.5, flips=0.1).prob_first(PROMPT, NAMED, KIND)
    assert noisy == pytest.approx(0.1 + 0.8 * expected, abs=1e-12)


@pytest.mark.parametrize("strength", [0.2, 1.0, 3.0])
def test_each_voter_is_consistent_and_the_crowd_is_not(strength: float) -> None:
    crowd = Cycle(strength)
    assert is_cyclic(crowd.better(PROMPT, THREE))
    for voter in crowd.voters():
        golds = [words.gold(PROMPT, answer, voter.taste) for answer in THREE]
        assert sorted(golds) == pytest.approx([0.0, strength, 2 * strength])
    # two groups of three prefer each answer to the next, whatever they lose by in the third
    for first, second in itertools.pairwise((*THREE, NAMED)):
        for_it = [voter.prob_first(PROMPT, first, second) > 0.5 for voter in crowd.voters()]
        assert sum(for_it) == 2


def test_labels_are_drawn_as_stated() -> None:
    crowd, count = Cycle(), 20_000
    found = preferences([PROMPT] * count, [(NAMED, KIND)] * count, 0, crowd.voters())
    share = sum(label.winner == 0 for label in found) / count
    assert share == pytest.approx(crowd.prob_first(PROMPT, NAMED, KIND), abs=0.0142)
    (judgment,) = found[0].record(0).judgments
    assert judgment.rater.group == {"taste": found[0].annotator.name}


def brute_force(better: torch.Tensor, parts: int = 60) -> float:
    """The best worst case of all mixtures of three answers on a grid."""
    shares = [(a, b, parts - a - b) for a in range(parts + 1) for b in range(parts + 1 - a)]
    grid = torch.tensor(shares, dtype=torch.float64) / parts
    return float((grid @ better).min(1).values.max())


@pytest.mark.parametrize("seed", range(4))
def test_no_mixture_does_better(seed: int) -> None:
    rng, crowd = random.Random(seed), Cycle(1.0)
    answers = [words.reference(PROMPT, rng) for _ in range(3)]
    for better in (crowd.better(PROMPT, THREE), crowd.better(PROMPT, answers)):
        worst = float((best_mixture(better) @ better).min())
        assert worst == pytest.approx(0.5, abs=1e-9)
        assert brute_force(better) <= worst + 1e-9


def test_an_uneven_cycle_mixes_by_the_edge_that_a_response_is_not_part_of() -> None:
    # edges 0.4 (0 over 1), 0.2 (1 over 2), 0.1 (2 over 0): shares 0.2 : 0.1 : 0.4 of 0.7
    better = 0.5 + torch.tensor([[0, 0.4, -0.1], [-0.4, 0, 0.2], [0.1, -0.2, 0]])
    expected = torch.tensor([2, 1, 4], dtype=torch.float64) / 7
    torch.testing.assert_close(best_mixture(better), expected, rtol=0, atol=1e-6)


def test_the_penalised_game_nears_the_mixture_as_the_penalty_goes() -> None:
    rng = random.Random(5)
    answers = [*THREE, *(words.reference(PROMPT, rng) for _ in range(3))]
    game = Cycle(1.5).game(PROMPT, answers)
    torch.testing.assert_close(game.better + game.better.mT, torch.ones(6, 6).double())
    assert game.gap(game.fixed_point(0.1), 0.1) < 1e-6
    mixed = best_mixture(game.better)
    assert float((mixed @ game.better).min()) == pytest.approx(0.5, abs=1e-9)


def test_one_taste_makes_no_cycle() -> None:
    rng, voter = random.Random(1), Cycle().voters()[0]
    answers = [words.reference(PROMPT, rng) for _ in range(6)]
    rows = [[voter.prob_first(PROMPT, a, b) for b in answers] for a in answers]
    assert not is_cyclic(torch.tensor(rows, dtype=torch.float64))


def test_bad_numbers_are_named() -> None:
    with pytest.raises(ConfigError, match="`strength` must be above 0, got 0"):
        Cycle(0.0)
    with pytest.raises(ConfigError, match="`flips` must be in"):
        Cycle(flips=0.5).voters()
    with pytest.raises(ConfigError, match="must add up to 1"):
        best_mixture(torch.tensor([[0.5, 0.9], [0.9, 0.5]]))
