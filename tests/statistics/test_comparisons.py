"""Tests of differences: by hand, against statsmodels and scipy, and in simulated truth."""

import numpy as np
import pytest
from scipy import stats

from prefine.errors import StatisticError
from prefine.statistics import holm, paired_t, paired_t_test, sign_flip_test, welch


def test_signs_are_flipped_exactly_where_they_are_few():
    # sums over the 8 assignments: ±6, ±4, ±2, 0, 0 → 2 of 8 are as far as 6
    assert sign_flip_test([1.0, 2.0, 3.0], [0.0, 0.0, 0.0]) == 0.25
    assert sign_flip_test([1.0, -1.0], [0.0, 0.0]) == 1.0
    assert sign_flip_test([1.0, 1.0], [1.0, 1.0]) == 1.0


def test_clusters_are_flipped_whole():
    a, b = [1.0] * 8, [0.0] * 8
    assert sign_flip_test(a, b) == 2 / 2**8
    assert sign_flip_test(a, b, ["p", "p", "p", "p", "q", "q", "q", "q"]) == 0.5


def test_drawn_signs_agree_with_all_of_them():
    gap = np.random.default_rng(0).normal(0.6, 1.0, 12)
    exact = sign_flip_test(gap, np.zeros(12))
    drawn = sign_flip_test(gap, np.zeros(12), draws=4_000)
    assert drawn == pytest.approx(exact, abs=4 * (exact * (1 - exact) / 4_000) ** 0.5)


def test_many_clusters_are_no_overflow():
    gap = np.random.default_rng(0).normal(0.0, 1.0, 2_000)
    assert 0 < sign_flip_test(gap, np.zeros(2_000), draws=200) <= 1


def test_p_is_even_where_nothing_differs():
    rng = np.random.default_rng(1)
    clusters = np.repeat(np.arange(20), 3)
    found = []
    for _ in range(300):
        shared = rng.normal(size=20)[clusters]  # what rows of a prompt have in common
        gap = shared + rng.normal(size=60)
        found.append(
            (sign_flip_test(gap, np.zeros(60), clusters, draws=200),
             sign_flip_test(gap, np.zeros(60), draws=200))
        )  # fmt: skip
    clustered, forgetful = np.mean(np.array(found) <= 0.05, axis=0)
    assert clustered < 0.05 + 3 * (0.05 * 0.95 / 300) ** 0.5
    assert forgetful > 0.1, "rows of a prompt are no independent rows"


def test_the_paired_t_test_agrees_with_its_interval():
    a, b = [1.0, 2.0, 3.0, 2.5], [0.5, 1.0, 2.5, 2.6]
    assert paired_t_test(a, b) == pytest.approx(stats.ttest_rel(a, b).pvalue)
    assert (paired_t(a, b).low > 0) == (paired_t_test(a, b) < 0.05)
    assert paired_t_test([1.0, 2.0], [1.0, 2.0]) == 1.0
    assert paired_t_test([2.0, 3.0], [1.0, 2.0]) == 0.0
    with pytest.raises(StatisticError, match="two seeds or more, got 1"):
        paired_t_test([1.0], [2.0])


def test_welch_by_hand():
    a, b = [1.0, 2.0, 3.0], [0.0, 1.0]
    stat, p = welch(a, b)
    # variances 1 and 0.5: standard error sqrt(1/3 + 0.5/2), degrees of freedom after Welch
    error = (1 / 3 + 1 / 4) ** 0.5
    freedom = (7 / 12) ** 2 / ((1 / 3) ** 2 / 2 + (1 / 4) ** 2 / 1)
    half = stats.t.ppf(0.975, freedom) * error
    assert (stat.value, stat.low, stat.high) == pytest.approx((1.5, 1.5 - half, 1.5 + half))
    assert p == pytest.approx(2 * stats.t.sf(1.5 / error, freedom))
    assert welch([1.0, 1.0], [1.0, 1.0])[1] == 1.0
    assert welch([2.0, 2.0], [1.0, 1.0])[1] == 0.0
    with pytest.raises(StatisticError, match="got 1 and 2"):
        welch([1.0], [1.0, 2.0])


def test_holm_agrees_with_statsmodels():
    multipletests = pytest.importorskip("statsmodels.stats.multitest").multipletests
    found = np.random.default_rng(0).uniform(size=12).tolist()
    np.testing.assert_allclose(holm(found), multipletests(found, method="holm")[1])


def test_holm_leaves_out_what_was_not_tested():
    adjusted = holm([0.02, float("nan"), 0.03])
    assert (adjusted[0], adjusted[2]) == (0.04, 0.04)
    assert np.isnan(adjusted[1])
    with pytest.raises(StatisticError, match=r"in \[0, 1\]"):
        holm([1.2])
