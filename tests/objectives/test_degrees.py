"""The cross-entropy of degrees by hand, and what it refuses."""

import math

import pytest
import torch

from prefine.errors import ObjectiveError
from prefine.objectives.degrees import degree_cross_entropy
from prefine.scores import Scores


def rows(vector: torch.Tensor | None, degree: list[list[int]], **more: object) -> Scores:
    shape = torch.tensor(degree).shape
    columns = {"degree": torch.tensor(degree)}
    return Scores(torch.zeros(shape), torch.ones(shape), vector=vector, columns=columns, **more)  # type: ignore[arg-type]


LOGITS = torch.tensor([[[0.0, 0.0, 0.0], [2.0, 0.0, 0.0]]], dtype=torch.float64)


def test_by_hand() -> None:
    # -log(1/3) and -log(1 / (e^2 + 2)), averaged, times 0.1
    by_hand = 0.1 * (math.log(3) + math.log(math.exp(2) + 2)) / 2
    assert float(degree_cross_entropy(rows(LOGITS, [[0, 2]]))) == pytest.approx(by_hand)
    alone = rows(LOGITS, [[0, 2]], valid=torch.tensor([[True, False]]))
    assert float(degree_cross_entropy(alone, weight=1.0)) == pytest.approx(math.log(3))


@pytest.mark.parametrize("degree", [[[0, 3]], [[-1, 0]], [[0]]])
def test_degrees_must_be_known_to_the_head(degree: list[list[int]]) -> None:
    with pytest.raises(ObjectiveError, match="degree"):
        degree_cross_entropy(rows(LOGITS, degree))


def test_a_head_is_needed() -> None:
    with pytest.raises(ObjectiveError, match="got None"):
        degree_cross_entropy(rows(None, [[0, 1]]))
    with pytest.raises(ObjectiveError, match="`degree`"):
        degree_cross_entropy(Scores(torch.zeros(1, 2), torch.ones(1, 2), vector=LOGITS))
