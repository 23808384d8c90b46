"""A mean over seeds and prompts covers what another seed and other prompts would give."""

import numpy as np
import pytest

from prefine.errors import StatisticError
from prefine.statistics import crossed_mean, paired_t


def drawn(
    rng: np.random.Generator, seeds: int, prompts: int, of: tuple[float, float, float]
) -> np.ndarray:
    by_seed, by_prompt, rest = of
    return (
        by_seed * rng.standard_normal((seeds, 1))
        + by_prompt * rng.standard_normal((1, prompts))
        + rest * rng.standard_normal((seeds, prompts))
    )


@pytest.mark.parametrize("of", [(1, 0, 0.5), (0, 1, 0.5), (0.3, 1, 1), (0, 0, 1)])
def test_the_interval_covers_the_truth_wherever_numbers_vary(
    of: tuple[float, float, float],
) -> None:
    rng = np.random.default_rng(0)
    missed = sum(crossed_mean(drawn(rng, 4, 40, of))[1] < 0.05 for _ in range(1_000))
    assert missed <= 70, "5% is asked for"


def test_the_mean_over_seeds_alone_would_not() -> None:
    rng = np.random.default_rng(0)
    missed = 0
    for _ in range(300):
        means = drawn(rng, 4, 40, (0, 1, 0.5)).mean(1)
        stat = paired_t(means, np.zeros(4))
        missed += not stat.low <= 0 <= stat.high
    assert missed > 100, "the same prompts, seed after seed, are taken for the truth"


def test_numbers_worked_out_by_hand() -> None:
    # MS of seeds 0.06, of prompts 2.105, of the rest 0.005: variance (0.06 + 2.105 - 0.005) / 6
    stat, p = crossed_mean([[1.0, 2.0, 3.0], [1.2, 2.1, 3.3]])
    assert stat.value == pytest.approx(2.1)
    assert (stat.high - stat.low) / 2 == pytest.approx(4.1077 * 0.6, rel=2e-3)
    assert p == pytest.approx(0.068, abs=1e-3)
    assert (stat.n, stat.n_clusters, stat.seeds) == (6, 3, 2)


def test_numbers_that_do_not_vary() -> None:
    assert crossed_mean(np.zeros((2, 3)))[1] == 1
    stat, p = crossed_mean(np.ones((2, 3)))
    assert (stat.low, stat.high, p) == (1, 1, 0)


@pytest.mark.parametrize("values", [np.ones(3), np.ones((1, 3)), np.full((2, 3), np.nan)])
def test_what_has_no_interval_is_refused(values: np.ndarray) -> None:
    with pytest.raises(StatisticError):
        crossed_mean(values)
