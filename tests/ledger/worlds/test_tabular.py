"""The tables state their truth, and samples of them agree with it."""

from functools import partial

import torch

from prefine.ledger.worlds.linear import Linear
from prefine.ledger.worlds.tabular import Tabular, divergence, minimise, total_variation
from prefine.objectives import dpo, plackett_luce


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_the_optimum_earns_more_than_its_neighbours() -> None:
    world, beta = Tabular.drawn(0, prompts=3), 0.7
    best = world.optimum(beta)

    def worth(policy: torch.Tensor) -> float:
        return world.gold(policy) - beta * divergence(policy, world.reference)

    top = worth(best)
    for seed in range(20):
        noise = torch.randn(best.shape, generator=torch.Generator().manual_seed(seed))
        assert worth((best + 0.1 * noise).log_softmax(-1)) < top


def test_all_pairs_weigh_as_people_choose() -> None:
    world = Tabular.drawn(1, prompts=2, responses=4)
    pairs = world.every_pair()
    assert len(pairs) == 2 * 4 * 3
    torch.testing.assert_close(pairs.weight.sum(), torch.tensor(1.0, dtype=torch.float64))
    gap = world.reward[pairs.prompt[:, None], pairs.response].diff(dim=1).squeeze(1)
    torch.testing.assert_close(
        pairs.weight / pairs.weight.max(), gap.neg().sigmoid() / gap.neg().sigmoid().max()
    )


def test_sampled_pairs_win_as_often_as_they_should() -> None:
    world = Tabular.drawn(2, responses=3)
    pairs = world.some_pairs(40_000, generator(), flips=0.2)
    better = 0.8 * world.better()[0] + 0.2 * world.better()[0].T
    for one, other in ((0, 1), (0, 2), (1, 2)):
        wins = (pairs.response == torch.tensor([one, other])).all(1).sum()
        losses = (pairs.response == torch.tensor([other, one])).all(1).sum()
        share = float(wins / (wins + losses))
        assert abs(share - float(better[one, other])) < 0.02


def test_lists_are_ranked_by_the_gold_reward() -> None:
    world = Tabular.drawn(3, responses=5)
    lists = world.some_lists(20_000, 3, generator())
    assert lists.response.shape == (20_000, 3)
    assert (lists.response.sort(1).values.diff(dim=1) > 0).all(), "three different responses"
    utility = lists.fields["utility"]
    torch.testing.assert_close(utility, world.reward[0][lists.response])
    expected = float(utility.softmax(1).max(1).values.mean())  # Luce: the best of a list is first
    found = float((utility.argmax(1) == 0).double().mean())
    assert abs(found - expected) < 0.01
    (whole,) = world.whole_lists().fields["utility"]
    assert (whole.diff() <= 0).all()


def test_a_fit_finds_what_a_loss_asks_for() -> None:
    world = Tabular.drawn(4, prompts=2, responses=4)
    found = world.fit(partial(dpo, beta=0.5), world.every_pair())
    assert total_variation(found, world.optimum(0.5)) < 1e-4
    chain = world.fit(partial(plackett_luce, beta=0.5), world.some_lists(50_000, 4, generator()))
    assert total_variation(chain, world.optimum(0.5)) < 0.03
    low = minimise(lambda x: (x - 2).square().sum(), torch.zeros(2))
    torch.testing.assert_close(low, torch.full((2,), 2.0))


def test_raters_turn_their_share_of_labels_around() -> None:
    world = Linear.drawn(0, strength=50.0)
    assert torch.isclose(world.taste.norm(), torch.tensor(50.0, dtype=torch.float64))
    pairs = world.judged(world.responses(20_000, generator()), generator(), (0.1, 0.4))
    for rater, flips in enumerate((0.1, 0.4)):
        of = pairs.rater == rater
        assert abs(float(pairs.wrong[of].double().mean()) - flips) < 0.02
    gold = world.gold(pairs.features)
    right = gold[:, 0] > gold[:, 1]
    agree = (right ^ pairs.wrong).double().mean()
    assert agree > 0.97, "with so strong a taste only slips turn labels around"
    assert world.accuracy(world.taste, pairs.features) == 1.0
    assert world.accuracy(-world.taste, pairs.features) == 0.0
