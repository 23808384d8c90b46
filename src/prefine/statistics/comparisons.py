"""Tests of a difference, and the correction that several of them need."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from prefine.errors import StatisticError
from prefine.statistics._clusters import Clusters, Floats, as_codes, as_floats, same_length
from prefine.statistics.bootstrap import AT_ONCE
from prefine.statistics.stat import Stat

ROUNDING = 1e-12
"""Relative difference below which two sums count as equal: they are added in another order."""


def sign_flip_test(
    a: ArrayLike, b: ArrayLike, clusters: Clusters = None, *, draws: int = 10_000, seed: int = 0
) -> float:
    r"""Two-sided p-value: do two conditions differ on the same rows?

    If neither is better, the two may be exchanged within a cluster without changing anything. So
    the sum of a - b is set beside its values after each cluster's differences kept or changed
    their sign by a coin: all :math:`2^C` of them where C clusters have no more than `draws`, else
    `draws` drawn ones.

    Args:
        a: [n] numbers.
        b: [n] the same rows under the other condition.
        clusters: [n] labels of what is independent, or None if each row stands alone.
        draws: Most assignments of signs that are looked at.
        seed: Seed of the drawn ones.

    Returns:
        Share of assignments whose sum is at least as far from 0; of drawn ones (1 + k)/(1 + draws).

    Raises:
        StatisticError: If the two differ in length, or values are not finite.

    Source:
        Fisher 1935, The Design of Experiments, section 21; Phipson and Smyth 2010 (drawn ones).

    Example:
        >>> sign_flip_test([1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0])
        0.125
    """
    first, second = as_floats(a, "a"), as_floats(b, "b")
    same_length(a=first, b=second)
    if len(first) == 0:
        return math.nan
    sums = np.bincount(as_codes(clusters, len(first)), weights=first - second)
    sums = sums[sums != 0]
    count = len(sums)
    observed = abs(float(sums.sum())) - ROUNDING * float(np.abs(sums).sum())
    if count <= math.log2(draws):
        bits = (np.arange(2**count)[:, None] >> np.arange(count)) & 1
        return float(np.mean(np.abs((1 - 2 * bits) @ sums) >= observed))
    rng, found = np.random.default_rng(seed), 0
    step = max(1, AT_ONCE // count)
    for start in range(0, draws, step):
        size = (min(step, draws - start), count)
        signs = rng.integers(0, 2, size=size, dtype=np.int8) * 2.0 - 1.0
        found += int((np.abs(signs @ sums) >= observed).sum())
    return (1 + found) / (1 + draws)


def paired_t_test(a: ArrayLike, b: ArrayLike) -> float:
    """Two-sided p-value of the paired t test over seeds.

    Args:
        a: [n] one number per seed, n of at least 2.
        b: [n] the other condition, same seeds in the same order.

    Returns:
        The p-value; 1 where the two agree everywhere; 0 where they differ by a constant.

    Example:
        >>> round(paired_t_test([1.0, 2.0, 3.0], [0.5, 1.0, 2.5]), 4)
        0.0572
    """
    first, second = as_floats(a, "a"), as_floats(b, "b")
    same_length(a=first, b=second)
    if len(first) < 2:
        raise StatisticError(f"A paired t test needs two seeds or more, got {len(first)}.")
    gap = first - second
    if _is_constant(gap):
        return 1.0 if gap[0] == 0 else 0.0
    result: Any = stats.ttest_1samp(gap, 0.0)  # scipy's stubs do not know its fields
    return float(result.pvalue)


def welch(a: ArrayLike, b: ArrayLike) -> tuple[Stat, float]:
    """Difference of two means over seeds that are not paired, whose spreads may differ.

    Args:
        a: [m] one number per seed, m of at least 2.
        b: [n] one number per seed of the other condition, n of at least 2.

    Returns:
        mean(a) - mean(b) with its 95% interval, and the two-sided p-value.

    Raises:
        StatisticError: If one side has fewer than two seeds.

    Source:
        Welch 1947, Biometrika 34(1/2), pp. 28-35.

    Example:
        >>> stat, p = welch([1.0, 2.0, 3.0], [0.0, 1.0])
        >>> print(stat, round(p, 3))
        1.5000 [-0.9877, 3.9877] (n=5, seeds=5, Welch's t over seeds) 0.148
    """
    first, second = as_floats(a, "a"), as_floats(b, "b")
    if min(len(first), len(second)) < 2:
        raise StatisticError(
            f"Welch's t needs two seeds or more on each side, got {len(first)} and {len(second)}."
        )
    n, gap = len(first) + len(second), float(first.mean() - second.mean())
    method = "Welch's t over seeds"
    if _is_constant(first) and _is_constant(second):
        return Stat(gap, gap, gap, n, method, seeds=n), 1.0 if gap == 0 else 0.0
    result: Any = stats.ttest_ind(first, second, equal_var=False)
    interval = result.confidence_interval(0.95)
    stat = Stat(gap, float(interval.low), float(interval.high), n, method, seeds=n)
    return stat, float(result.pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    r"""Adjust p-values for how many there are, so that all hold together at the stated level.

    .. math:: \tilde p_{(i)} = \max_{j \le i} \min(1,\, (m - j + 1)\, p_{(j)})

    Args:
        p_values: m p-values; NaN is no test, stays NaN and does not count.

    Returns:
        [m] adjusted p-values, in the same order.

    Raises:
        StatisticError: If a p-value lies outside [0, 1].

    Source:
        Holm 1979, Scandinavian Journal of Statistics 6(2), pp. 65-70.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    tested = sorted((p, at) for at, p in enumerate(p_values) if not math.isnan(p))
    adjusted, least = [math.nan] * len(p_values), 0.0
    for rank, (p, at) in enumerate(tested):
        if not 0 <= p <= 1:
            raise StatisticError(f"`p_values` must be in [0, 1], got {p}.")
        least = max(least, min(1.0, (len(tested) - rank) * p))
        adjusted[at] = least
    return adjusted


def _is_constant(values: Floats) -> bool:
    return float(np.ptp(values)) <= ROUNDING * float(np.abs(values).max())
