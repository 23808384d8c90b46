"""A mean over seeds and prompts at once, where every seed was measured on every prompt."""

import math
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from prefine.errors import StatisticError
from prefine.statistics.stat import Stat


def crossed_mean(values: ArrayLike) -> tuple[Stat, float]:
    r"""Mean of numbers that vary with the seed and with the prompt, its interval and p-value.

    With mean squares of seeds, prompts and what is left,

    .. math:: \mathrm{Var}(\bar x) =
        \frac{\max(MS_s + MS_p - MS_e,\ MS_s,\ MS_p)}{S P},

    so that the interval is of what another seed and other prompts would give. The degrees of
    freedom are Satterthwaite's; where one mean square rules, they are its own.

    Args:
        values: [S, P] a number for each seed and prompt, two or more of each.

    Returns:
        The mean with its 95% t interval, and the two-sided p-value of a mean of 0 (1 where all
        numbers are 0, 0 where all are the same other number).

    Raises:
        StatisticError: If there are fewer than two seeds or prompts, or a number is not finite.

    Source:
        Analysis of variance of two crossed random effects; Satterthwaite 1946.

    Example:
        >>> stat, p = crossed_mean([[1.0, 2.0, 3.0], [1.2, 2.1, 3.3]])
        >>> print(stat, round(p, 3))
        2.1000 [-0.3647, 4.5647] (n=6, clusters=3, seeds=2, t over seeds and prompts) 0.068
    """
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 2 or min(x.shape) < 2:
        raise StatisticError(
            f"A mean over seeds and prompts needs two of each or more, got {x.shape}."
        )
    if not np.isfinite(x).all():
        raise StatisticError("A mean over seeds and prompts needs numbers that are finite.")
    seeds, prompts = x.shape
    mean = float(x.mean())
    by_seed, by_prompt = x.mean(1) - mean, x.mean(0) - mean
    rest = x - mean - by_seed[:, None] - by_prompt[None, :]
    frees = np.array([seeds - 1, prompts - 1, (seeds - 1) * (prompts - 1)], dtype=float)
    squares = np.array(
        [prompts * (by_seed**2).sum(), seeds * (by_prompt**2).sum(), (rest**2).sum()]
    )
    of_seeds, of_prompts, of_rest = squares / frees
    both = of_seeds + of_prompts - of_rest
    ruling = max(both, of_seeds, of_prompts)
    found = {"n": x.size, "n_clusters": prompts, "seeds": seeds}
    method = "t over seeds and prompts"
    if ruling <= 1e-24 * max(1.0, mean**2):
        return Stat(mean, mean, mean, method=method, **found), float(mean == 0)
    if ruling == both:
        parts = np.array([of_seeds, of_prompts, of_rest]) ** 2 / frees
        free = both**2 / parts.sum()
    else:
        free = frees[0] if ruling == of_seeds else frees[1]
    error = math.sqrt(ruling / x.size)
    half = float(stats.t.ppf(0.975, free)) * error
    p = 2 * float(cast(Any, stats.t.sf(abs(mean) / error, free)))
    return Stat(mean, mean - half, mean + half, method=method, **found), p
