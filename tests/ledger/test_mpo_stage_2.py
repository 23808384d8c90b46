"""The RL of the experiment earns reward, keeps to its reference, and stays within its budget."""

import pytest
import torch

from prefine.ledger.experiments import mpo_stage_2 as stage
from prefine.ledger.worlds.tabular import Tabular, divergence

WORLD = Tabular.drawn(100, prompts=4, responses=6)
ASKED = torch.arange(4)


def after(penalty: float, start: torch.Tensor | None = None) -> torch.Tensor:
    begin = WORLD.reference if start is None else start
    return stage.stage_2(WORLD, ASKED, begin, WORLD.reference, 0.2, penalty, seed=0)


def test_reward_is_earned_where_it_was_asked_for() -> None:
    assert WORLD.gold(after(0.05)) > WORLD.gold(WORLD.reference) + 0.2
    one = stage.stage_2(WORLD, ASKED[:1], WORLD.reference, WORLD.reference, 0.2, 0.05, seed=0)
    torch.testing.assert_close(one[1:], WORLD.reference[1:])
    assert divergence(one[:1], WORLD.reference[:1]) > 0.01


def test_a_strong_penalty_brings_a_policy_back() -> None:
    away = WORLD.optimum(0.3)
    kept, free = (divergence(after(penalty, away), WORLD.reference) for penalty in (5.0, 0.0))
    assert kept < divergence(away, WORLD.reference) < free


def test_gold_is_that_of_the_policy_within_the_budget_and_of_its_edge_beyond() -> None:
    near, far = WORLD.optimum(5.0), WORLD.optimum(0.05)
    assert divergence(near, WORLD.reference) < stage.BUDGET < divergence(far, WORLD.reference)
    assert stage.gold_within(WORLD, near) == pytest.approx(WORLD.gold(near))
    # on the way to an optimum lie the optima of stronger penalties, the best at their distance
    edge = min(
        (WORLD.optimum(float(beta)) for beta in torch.logspace(-1, 1, 2_001)),
        key=lambda policy: abs(divergence(policy, WORLD.reference) - stage.BUDGET),
    )
    assert stage.gold_within(WORLD, far) == pytest.approx(WORLD.gold(edge), abs=1e-3)


def test_a_coin_turns_pairs_around() -> None:
    pairs = torch.tensor([[1, 2], [3, 4]])
    turned = stage.either(pairs, torch.tensor([[True], [False]]))
    assert turned.tolist() == [[2, 1], [3, 4]]
