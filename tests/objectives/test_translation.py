"""The score of two heads and the price of delay, by hand."""

import math

import pytest
import torch

from prefine.errors import ObjectiveError
from prefine.objectives import dpo
from prefine.objectives.translation import simul_dpo
from prefine.scores import Scores


def pair(**changes: torch.Tensor) -> Scores:
    """Two tokens chosen, one rejected; numbers under the mask must not matter."""
    elements = {
        "mask": torch.tensor([[[True, True], [True, False]]]),
        "action_log_prob": torch.tensor([[[-1.0, -0.5], [-3.0, -99.0]]]),
        "reference_action_log_prob": torch.tensor([[[-2.0, -1.0], [-2.0, -9.0]]]),
        "delay": torch.tensor([[[0.2, 0.6], [0.9, 77.0]]]),
        **changes,
    }
    policy, reference = torch.tensor([[-1.0, -2.0]]), torch.tensor([[-2.0, -2.5]])
    return Scores(policy, torch.tensor([[2.0, 1.0]]), reference=reference, elements=elements)


def test_by_hand() -> None:
    # u_w = 1 + 0.5 (1 + 0.5) = 1.75, u_l = 0.5 + 0.5 (-1) = 0; delays 0.4 and 0.9
    by_hand = math.log1p(math.exp(-0.2 * 1.75)) + 0.3 * (0.4 + 0.9) / 2
    found = simul_dpo(pair(), beta=0.2, action_weight=0.5, delay_weight=0.3)
    assert float(found) == pytest.approx(by_hand)


def test_imitation_by_hand() -> None:
    """The mean over the two words of the better response, -1 and -0.5, and over no other."""
    gained = simul_dpo(pair(), action_imitation=0.4) - simul_dpo(pair())
    assert float(gained) == pytest.approx(0.4 * (1.0 + 0.5) / 2)


def test_only_imitation_holds_actions_that_both_responses_share() -> None:
    """Along one path they cancel, whatever is compared: their own gradient is 0."""
    action = torch.tensor([-1.0, -0.5], requires_grad=True)
    both = action.expand(1, 2, 2)
    elements = {
        "mask": torch.ones(1, 2, 2, dtype=torch.bool), "delay": torch.ones(1, 2, 2),
        "action_log_prob": both, "reference_action_log_prob": torch.full((1, 2, 2), -2.0),
    }  # fmt: skip
    shared = Scores(torch.tensor([[-1.0, -2.0]]), torch.full((1, 2), 2.0),
                    reference=torch.tensor([[-2.0, -2.5]]), elements=elements)  # fmt: skip
    (free,) = torch.autograd.grad(simul_dpo(shared, delay_weight=0.0).sum(), action)
    assert not free.any()
    (held,) = torch.autograd.grad(
        simul_dpo(shared, delay_weight=0.0, action_imitation=1.0).sum(), action
    )
    torch.testing.assert_close(held, torch.tensor([-0.5, -0.5]))


def test_without_actions_and_price_it_is_dpo() -> None:
    found = simul_dpo(pair(), beta=0.2, action_weight=0.0, delay_weight=0.0)
    torch.testing.assert_close(found, dpo(pair(), beta=0.2))


def test_waiting_costs_and_better_actions_pay() -> None:
    base = float(simul_dpo(pair()))
    later = torch.tensor([[[0.2, 0.9], [0.9, 77.0]]])
    assert float(simul_dpo(pair(delay=later))) > base
    surer = torch.tensor([[[-0.5, -0.5], [-3.0, -99.0]]])
    assert float(simul_dpo(pair(action_log_prob=surer))) < base


def test_scores_of_ordinary_responses_are_refused() -> None:
    plain = Scores(torch.zeros(1, 2), torch.ones(1, 2), reference=torch.zeros(1, 2))
    with pytest.raises(ObjectiveError, match="needs action_log_prob, delay, mask"):
        simul_dpo(plain)
