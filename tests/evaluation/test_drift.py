"""Stances that move are told from stances that were only sampled."""

import numpy as np
import pytest

from prefine.errors import StatisticError
from prefine.evaluation.drift import value_drift, value_gap


def sampled(rng: np.random.Generator, mixes: list[list[float]], count: int = 50) -> np.ndarray:
    """[T, N, 3] one stance an answer, drawn from each checkpoint's mix."""
    return np.stack([np.eye(3)[rng.choice(3, size=count, p=mix)] for mix in mixes])


def test_sampling_alone_is_seldom_called_drift() -> None:
    rng = np.random.default_rng(0)
    still = [[0.5, 0.3, 0.2]] * 2
    moved = sum(value_drift(sampled(rng, still), draws=200).moved for _ in range(200))
    assert moved <= 20


def test_a_turn_is_found_with_its_time() -> None:
    rng = np.random.default_rng(0)
    path = [[0.8, 0.1, 0.1]] * 3 + [[0.1, 0.1, 0.8]] * 8
    found = value_drift(sampled(rng, path, count=400))
    assert found.moved
    assert found.time is not None
    assert 0.3 <= found.time <= 0.9
    assert found.shift == pytest.approx([-0.7, 0.0, 0.7], abs=0.1)
    assert found.distance[-1] == pytest.approx(0.7, abs=0.1)


def test_numbers_worked_out_by_hand() -> None:
    stances = [[[0.6, 0.4]] * 2, [[0.5, 0.5]] * 2, [[0.2, 0.8]] * 2]
    found = value_drift(stances, draws=10)
    assert found.distance == pytest.approx([0.0, 0.1, 0.4])
    assert (found.null, found.time) == (0.0, 1.0)
    early = value_drift(stances, draws=10, reached=0.2)
    assert early.time == 0.5
    assert value_gap([[1.0, 0.0], [0.5, 0.5]], [[0.25, 0.75]]) == pytest.approx(0.5)


@pytest.mark.parametrize(
    "stances", [[[[1.0, 0.0]]], [[[1.0, 0.0]], [[1.0, 0.0]]], [[[0.9, 0.9]] * 2] * 2]
)
def test_what_has_no_drift_is_refused(stances: list) -> None:
    with pytest.raises(StatisticError):
        value_drift(stances)
