"""What is said of rankings and ratings is what all orders and all ratings come to."""

import itertools
import math
from functools import partial

import pytest
import torch

from prefine.errors import ConfigError
from prefine.ledger.worlds.graded import Graded, Scale, kendall, ndcg
from prefine.objectives import plackett_luce


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def world() -> Graded:
    return Graded.drawn(0, prompts=3, responses=4, size=5)


def all_orders(world: Graded) -> list[torch.Tensor]:
    prompts, count = world.gold.shape
    return [
        torch.tensor(order).expand(prompts, count) for order in itertools.permutations(range(count))
    ]


@pytest.mark.parametrize("temperature", [0.3, 1.0, 5.0])
def test_expectations_are_those_of_all_orders(world: Graded, temperature: float) -> None:
    total, place, first = torch.zeros(3).double(), torch.zeros(3, 4).double(), 0.0
    scores = world.features[..., 0]
    for order in all_orders(world):
        prob = world.log_prob(order, temperature=temperature).exp()
        where = order.argsort(1)
        total += prob
        place += prob[:, None] * where
        for x in range(3):
            first += float(prob[x]) * kendall(scores[x : x + 1], -where[x : x + 1].double()) / 3
    torch.testing.assert_close(total, torch.ones(3).double())
    torch.testing.assert_close(place, world.expected_place(temperature=temperature))
    assert world.expected_kendall(scores, temperature=temperature) == pytest.approx(first)


def test_orders_are_drawn_as_often_as_they_are_said_to_be() -> None:
    gold = torch.tensor([[1.0, 0.0, -0.5]], dtype=torch.float64).expand(40_000, 3)
    world = Graded(gold, torch.zeros(40_000, 3, 1).double(), torch.zeros(1).double())
    drawn = world.ranked(generator(), temperature=0.7)
    for order in itertools.permutations(range(3)):
        expected = float(
            world.log_prob(torch.tensor([order]).expand(40_000, 3), temperature=0.7)[0].exp()
        )
        share = float((drawn == torch.tensor(order)).all(1).double().mean())
        # four standard deviations of 40,000 draws are at most 0.01
        assert share == pytest.approx(expected, abs=0.01)
    # by hand: e^(1 / 0.7) first of three, then e^0 of two
    top, middle, last = (math.exp(value / 0.7) for value in (1.0, 0.0, -0.5))
    by_hand = top / (top + middle + last) * middle / (middle + last)
    order = torch.tensor([[0, 1, 2]]).expand(40_000, 3)
    assert float(world.log_prob(order, temperature=0.7)[0].exp()) == pytest.approx(by_hand)


@pytest.mark.parametrize("scale", [Scale(), Scale(3, 2.0, -0.5, 1.0), Scale(7, 0.2, 1.0, 0.1)])
def test_ratings_are_drawn_as_stated(scale: Scale) -> None:
    gold = torch.tensor([-1.0, 0.0, 0.3, 2.0], dtype=torch.float64)
    drawn = scale.ratings(gold.expand(40_000, 4), generator())
    assert set(drawn.unique().tolist()) <= set(range(1, scale.points + 1))
    probs = scale.probs(gold)
    torch.testing.assert_close(probs.sum(-1), torch.ones(4).double())
    for rating in range(1, scale.points + 1):
        share = (drawn == rating).double().mean(0)
        torch.testing.assert_close(share, probs[:, rating - 1], rtol=0, atol=0.01)
    torch.testing.assert_close(drawn.mean(0), scale.expected(gold), rtol=0, atol=0.03)


def test_ties_and_leads_are_those_of_all_pairs_of_ratings() -> None:
    scale, gold = Scale(4, 0.8, 0.2, 0.7), torch.tensor([-1.0, 0.0, 1.5], dtype=torch.float64)
    probs, tie, above = scale.probs(gold), scale.prob_tie(gold), scale.prob_above(gold)
    for i, j in itertools.product(range(3), repeat=2):
        every = [(a - b, float(probs[i, a] * probs[j, b])) for a in range(4) for b in range(4)]
        assert float(tie[i, j]) == pytest.approx(sum(p for gap, p in every if gap == 0))
        assert float(above[i, j]) == pytest.approx(sum(p for gap, p in every if gap > 0))
    torch.testing.assert_close(tie + above + above.mT, torch.ones(3, 3).double())


def test_a_rating_by_hand() -> None:
    # in the middle of five points; half a point is one deviation, so 68.3% round to 3
    assert float(Scale().probs(torch.tensor(0.0).double())[2]) == pytest.approx(0.6827, abs=1e-4)
    # far above the scale all is 5
    assert float(Scale().expected(torch.tensor(20.0).double())) == pytest.approx(5.0)


def test_levels_tie_alike_often_and_keep_the_order() -> None:
    plain, leveled = (Graded.drawn(3, prompts=2_000, levels=levels) for levels in (0, 5))
    values, counts = leveled.gold.unique(return_counts=True)
    assert values.tolist() == pytest.approx([-1.0, -0.5, 0.0, 0.5, 1.0])
    assert (counts / counts.sum()).tolist() == pytest.approx([0.2] * 5, abs=0.02)
    order = plain.gold.argsort(1)
    assert bool((leveled.gold.gather(1, order).diff(dim=1) >= 0).all())
    torch.testing.assert_close(plain.gold, plain.features @ plain.taste)


def test_measures_by_hand() -> None:
    value = torch.tensor([[2.0, 1.0, 0.0]])
    assert kendall(value, -value) == -1.0
    # a tie among three pairs counts nothing
    assert kendall(value, torch.tensor([[1.0, 1.0, 0.0]])) == pytest.approx(2 / 3)
    # gains 3, 1, 0 at places 1, 2: the best 3 + 1 / log2(3); the worst 0 + 1 / log2(3)
    third = 1 / math.log2(3)
    assert ndcg(value, value, top=2) == pytest.approx(1.0)
    assert ndcg(-value, value, top=2) == pytest.approx(third / (3 + third))
    with pytest.raises(ConfigError, match="no grade above 0"):
        ndcg(value, torch.zeros(1, 3), top=2)


def test_measures_are_those_of_the_lists_that_were_declared() -> None:
    from prefine.ledger.experiments import lists

    scores, value = torch.randn(2, 50, 8, generator=generator(), dtype=torch.float64)
    assert kendall(scores, value) == pytest.approx(lists.kendall(scores, value))
    grade = 4 * value.argsort(1).argsort(1).double() / 7
    expected = lists.at_the_top(scores, value)
    assert ndcg(scores, grade, top=lists.TOP) == pytest.approx(expected)


def test_lists_teach_the_taste() -> None:
    world = Graded.drawn(1, prompts=400, size=6)
    order = world.ranked(generator())
    utility = torch.linspace(4, 0, 8, dtype=torch.float64).expand(400, 8)
    found = world.fit(partial(plackett_luce, beta=1.0), order, utility, steps=200, rate=0.05)
    cosine = torch.cosine_similarity(found, world.taste, dim=0)
    assert float(cosine) > 0.99
    assert float(found.norm()) == pytest.approx(2.0, rel=0.1), "at temperature 1 also its length"
    # no scoring does better on the rankings themselves than gold
    best = world.expected_kendall(world.gold)
    assert best > world.expected_kendall(world.features @ found) > 0.97 * best


def test_the_table_has_the_same_pairs() -> None:
    world = Graded.drawn(0, prompts=2, responses=3)
    torch.testing.assert_close(world.table.better(), world.better())


def test_bad_numbers_are_named() -> None:
    with pytest.raises(ConfigError, match="`levels` must be 0 for none, or at least 2, got 1"):
        Graded.drawn(0, levels=1)
    with pytest.raises(ConfigError, match="`points` must be at least 2, got 1"):
        Scale(points=1)
    with pytest.raises(ConfigError, match="`noise` must be above 0"):
        Scale(noise=0.0)
