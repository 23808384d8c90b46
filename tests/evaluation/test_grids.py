"""What is said of grids, by hand and against the loss."""

import math

import numpy as np
import pytest
import torch

from prefine.audit.measures import measures
from prefine.errors import StatisticError
from prefine.evaluation import grid_measures
from prefine.objectives.grid import grid_contrast
from prefine.scores import Scores


def test_by_hand() -> None:
    # Means: [[-1, -3], [-2, -2]]. Response 0 is likelier under 0 (-1 > -2), response 1 under 1.
    found = grid_measures([[-2.0, -3.0, -4.0, -2.0]], [[2.0, 1.0, 2.0, 1.0]])
    loss = (math.log1p(math.exp(-2)) + math.log(2) + 2 * math.log1p(math.exp(-1))) / 4
    assert found["information"] == pytest.approx([math.log(2) - loss])
    assert found["own_instruction"].tolist() == [1.0]


def test_ties_count_their_part() -> None:
    found = grid_measures([[-1.0, -1.0, -1.0, -2.0]], np.ones((1, 4)))
    # Response 0 as likely under both: a half. Response 1 likelier under 0: nothing.
    assert found["own_instruction"].tolist() == [0.25]
    assert grid_measures(np.zeros((1, 9)), np.ones((1, 9)))["information"] == pytest.approx([0.0])


def test_the_bound_is_that_of_the_loss() -> None:
    policy, lengths = torch.randn(5, 9).double() * 4, torch.randint(1, 6, (5, 9)).double()
    loss = grid_contrast(Scores(policy, lengths))
    found = grid_measures(policy.numpy(), lengths.numpy())["information"]
    np.testing.assert_allclose(found, math.log(3) - loss.numpy(), atol=1e-12)


def test_a_cell_without_a_score_leaves_no_number() -> None:
    found = grid_measures([[-1.0, np.nan, -1.0, -1.0]], np.ones((1, 4)))
    assert all(np.isnan(values).all() for values in found.values())


def test_runs_are_compared_in_the_same_numbers() -> None:
    row = {
        "roles": ["cell_0_0", "cell_0_1", "cell_1_0", "cell_1_1"], "reference": None,
        "scores": [-2.0, -3.0, -4.0, -2.0], "length": [2.0, 1.0, 2.0, 1.0],
    }  # fmt: skip
    found = measures([row], "nats")
    assert set(found) == {"own_instruction", "information"}
    assert found["own_instruction"].tolist() == [1.0]


@pytest.mark.parametrize("shape", [(2, 3), (2, 1), (4,)])
def test_what_is_no_grid_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(StatisticError, match="as many responses as instructions"):
        grid_measures(np.zeros(shape), np.zeros(shape))
