"""The law over several policies, with what other prompts would have said."""

import numpy as np
import pytest

from prefine.errors import StatisticError
from prefine.evaluation.overoptimisation_law import MEANINGS, overoptimisation_report

DISTANCE = np.array([0.5, 1.0, 1.5, 2.0, 3.0])


def measured(noise: float, prompts: int = 400) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    shape = (len(DISTANCE), prompts)
    gain = DISTANCE * (1.0 - 0.8 * np.log(DISTANCE))
    return (
        (DISTANCE**2)[:, None] + noise * rng.standard_normal(shape),
        gain[:, None] + noise * rng.standard_normal(shape),
    )


def test_the_law_lies_in_its_interval_which_narrows_with_prompts() -> None:
    wide, narrow = (overoptimisation_report(*measured(0.5, n)) for n in (50, 2_000))
    for found in (wide, narrow):
        assert found["alpha"].low < 1.0 < found["alpha"].high
        assert found["beta"].low < 0.8 < found["beta"].high
        assert found["peak"].low < np.exp(1.0 / 0.8 - 1) < found["peak"].high
        assert found.keys() == MEANINGS.keys()
        assert found["peak_share"].value == 1.0
    assert narrow["beta"].high - narrow["beta"].low < wide["beta"].high - wide["beta"].low


def test_a_law_that_rises_for_ever_has_no_peak() -> None:
    kl, _ = measured(0.0)
    found = overoptimisation_report(kl, DISTANCE[:, None] ** 2 + np.zeros_like(kl))
    assert "peak" not in found
    assert found["peak_share"].value == 0.0


@pytest.mark.parametrize(
    ("kl", "gain", "why"),
    [
        (np.zeros((3, 4)), np.ones((3, 5)), "must be"),
        (np.zeros((3, 4)), np.arange(12.0).reshape(3, 4), "three distances"),
        # each policy is far on one prompt of nine: draws that hit all three are few
        (-np.ones((3, 9)) + 9.5 * np.eye(3, 9), np.diag([1.0, 2.0, 3.0]) @ np.eye(3, 9), "draws"),
    ],
)
def test_what_cannot_be_fitted_is_said(kl: np.ndarray, gain: np.ndarray, why: str) -> None:
    with pytest.raises(StatisticError, match=why):
        overoptimisation_report(kl, gain, draws=200)
