"""The law of over-optimisation over checkpoints, with what another draw of prompts would say."""

import numpy as np
from numpy.typing import ArrayLike

from prefine.errors import StatisticError
from prefine.evaluation.overoptimisation import fit_overoptimisation
from prefine.statistics import Stat

METHOD = "percentiles of the bootstrap over prompts"

MEANINGS = {
    "alpha": "gain per unit of distance near the reference",
    "beta": "how fast that is lost with distance",
    "explained": "share of the variance of the gains that the law explains",
    "explained_by_line": "the same of a straight line, which has as many numbers",
    "peak": "distance at which the law is highest, the root of nats; where it has a peak",
    "peak_share": "share of the draws of prompts under which the law has a peak",
}
"""What each number says, for tables."""


def overoptimisation_report(
    kl: ArrayLike, gain: ArrayLike, *, draws: int = 1_000, seed: int = 0
) -> dict[str, Stat]:
    r"""Fit :math:`R(d) = d (\alpha - \beta \log d)` to policies measured on the same prompts.

    Args:
        kl: [M, P] log-probability ratio to the reference of what each policy answers, nats; its
            mean over prompts estimates the divergence.
        gain: [M, P] reward of those answers less that of the reference's.
        draws: Of prompts, with replacement.
        seed: Of those.

    Returns:
        `alpha`, `beta`, `explained`, `explained_by_line`, `peak_share`, and `peak` where the law
        has one.

    Raises:
        StatisticError: If shapes differ, fewer than three policies are at a distance, or half of
            the draws leave fewer.

    Source:
        Rafailov et al. 2024, arXiv:2406.02900, eq. 5.

    Example:
        >>> d = np.array([0.5, 1.0, 2.0, 4.0])[:, None]
        >>> wobble = np.linspace(-0.1, 0.1, 40)
        >>> found = overoptimisation_report(d**2 + wobble, d * (2.0 - np.log(d)) + wobble, draws=99)
        >>> round(found["alpha"].value, 2), round(found["peak"].value, 2)
        (2.0, 2.72)
    """
    far, good = np.asarray(kl, dtype=np.float64), np.asarray(gain, dtype=np.float64)
    if far.shape != good.shape or far.ndim != 2:
        raise StatisticError(f"`kl` {far.shape} and `gain` {good.shape} must be [M, P] both.")
    whole = _numbers(far.mean(1), good.mean(1))
    rng, prompts = np.random.default_rng(seed), far.shape[1]
    drawn: list[dict[str, float]] = []
    for _ in range(draws):
        at = rng.integers(prompts, size=prompts)
        try:
            drawn.append(_numbers(far[:, at].mean(1), good[:, at].mean(1)))
        except StatisticError:
            continue
    if 2 * len(drawn) < draws:
        raise StatisticError(
            f"Only {len(drawn)} of {draws} draws of prompts leave three policies at a distance "
            "from the reference: take more prompts, or policies that moved further."
        )

    def stat(name: str) -> Stat:
        values = [one[name] for one in drawn if name in one]
        low, high = np.quantile(values, [0.025, 0.975])
        return Stat(whole[name], float(low), float(high), n=prompts, method=METHOD)

    share = float(np.mean(["peak" in one for one in drawn]))
    found = {name: stat(name) for name in whole}
    of_draws = Stat(share, float("nan"), float("nan"), n=len(drawn), method="share of the draws")
    return found | {"peak_share": of_draws}


def _numbers(kl: np.ndarray, gain: np.ndarray) -> dict[str, float]:
    law = fit_overoptimisation(np.sqrt(np.clip(kl, 0, None)), gain)
    numbers = {
        "alpha": law.alpha, "beta": law.beta, "explained": law.explained,
        "explained_by_line": law.explained_by_line,
    }  # fmt: skip
    return numbers if law.peak is None else numbers | {"peak": law.peak}
