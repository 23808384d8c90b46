from functools import partial

import pytest
import torch

from prefine.ledger.worlds.crowd import Crowd
from prefine.objectives import dpo


@pytest.fixture(scope="module")
def world() -> Crowd:
    return Crowd.drawn(0, prompts=6, responses=8, size=4)


def test_a_policy_is_the_reference_tilted(world: Crowd) -> None:
    weights = torch.tensor([1.0, -1.0, 0.5, 0.0], dtype=torch.float64)
    policy = world.policy(weights)
    torch.testing.assert_close(policy.exp().sum(1), torch.ones(6, dtype=torch.float64))
    tilt = (policy - world.table.reference).diff(dim=1)
    torch.testing.assert_close(tilt, (world.features @ weights).diff(dim=1))


def test_the_taste_makes_the_rewards_and_its_policy_is_the_optimum(world: Crowd) -> None:
    torch.testing.assert_close(world.features @ world.taste, world.table.reward)
    torch.testing.assert_close(world.policy(world.taste / 0.5), world.table.optimum(0.5))


def test_some_rows_are_taken_whole(world: Crowd) -> None:
    rows = world.table.some_lists(10, 3, torch.Generator().manual_seed(0))
    some = rows.take(torch.tensor([7, 2]))
    assert torch.equal(some.response, rows.response[[7, 2]])
    assert torch.equal(some.fields["utility"], rows.fields["utility"][[7, 2]])
    assert len(some) == 2


def test_learning_moves_the_better_ahead(world: Crowd) -> None:
    pairs = world.table.some_pairs(200, torch.Generator().manual_seed(0))
    policy = world.fit(partial(dpo, beta=1.0), pairs, steps=50, rate=0.05)
    first, second = world.moved(policy, pairs).mean(0).tolist()
    assert first > second
    assert world.table.gold(policy) > world.table.gold(world.table.reference)
