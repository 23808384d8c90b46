"""The grid's loss by hand, and what it does not depend on."""

import math

import pytest
import torch

from prefine.errors import ObjectiveError
from prefine.objectives.grid import grid_contrast, grid_term
from prefine.scores import Scores


def grids(*values: list[float], length: float = 1.0) -> Scores:
    policy = torch.tensor(values, dtype=torch.float64)
    return Scores(policy, torch.full_like(policy, length))


def test_by_hand() -> None:
    # rows of the grid: -log softmax(-1, -3)[0] = log(1 + e^-2), -log softmax(-2, -2)[1] = log 2
    # columns:          -log softmax(-1, -2)[0] = log(1 + e^-1), -log softmax(-3, -2)[1] the same
    by_hand = (math.log1p(math.exp(-2)) + math.log(2) + 2 * math.log1p(math.exp(-1))) / 4
    assert float(grid_contrast(grids([-1.0, -3.0, -2.0, -2.0]))) == pytest.approx(by_hand)


def test_scores_are_means_over_tokens() -> None:
    short, long = grids([-1.0, -3.0, -2.0, -2.0]), grids([-4.0, -12.0, -8.0, -8.0], length=4.0)
    torch.testing.assert_close(grid_contrast(short), grid_contrast(long))


def test_transposed_is_the_same_and_shifts_of_one_response_count_one_way() -> None:
    torch.manual_seed(0)
    policy = torch.randn(5, 3, 3, dtype=torch.float64)
    ones = torch.ones(5, 9, dtype=torch.float64)
    straight = grid_contrast(Scores(policy.flatten(1), ones))
    turned = grid_contrast(Scores(policy.mT.flatten(1), ones))
    torch.testing.assert_close(straight, turned)
    torch.testing.assert_close(grid_contrast(Scores(policy.flatten(1) + 7, ones)), straight)
    # log C - loss never says more than there is to say
    assert (grid_contrast(Scores(50 * torch.eye(3).flatten()[None].double(), ones[:1])) >= 0).all()
    assert float(grid_contrast(grids([0.0] * 9))) == pytest.approx(math.log(3))


@pytest.mark.parametrize("count", [1, 2, 5])
def test_what_is_no_grid_is_refused(count: int) -> None:
    with pytest.raises(ObjectiveError, match=f"a row holds {count} scores"):
        grid_contrast(grids([0.0] * count))


def test_a_grid_with_a_hole_is_refused() -> None:
    scores = Scores(torch.zeros(1, 4), torch.ones(1, 4), valid=torch.tensor([[True] * 3 + [False]]))
    with pytest.raises(ObjectiveError, match="lacks one"):
        grid_contrast(scores)


def test_a_term_names_every_cell_in_the_order_of_the_loss() -> None:
    assert grid_term(3).roles[5] == "cell_1_2"
    assert len(grid_term(3).roles) == 9
