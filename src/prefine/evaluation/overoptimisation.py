"""Whether a run has gone too far: a law of gold against distance, two early signs, a stop rule."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from prefine.errors import StatisticError

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Overoptimisation:
    r"""The law :math:`R(d) = d\,(\alpha - \beta \log d)` as fitted to a run, or to several.

    Attributes:
        alpha: Gain per unit of distance near the reference.
        beta: How fast that is lost.
        explained: Share of the variance of the gains that the law explains.
        explained_by_line: The same of a straight line, which has as many numbers.
        peak: Distance at which the law is highest, or None if it has no peak.
        peak_gain: Gain there, or None.
    """

    alpha: float
    beta: float
    explained: float
    explained_by_line: float
    peak: float | None
    peak_gain: float | None


def fit_overoptimisation(distance: ArrayLike, gain: ArrayLike) -> Overoptimisation:
    """Fit the law of over-optimisation by least squares.

    Args:
        distance: [n] square root of KL(policy || reference), the KL estimated on samples of the
            policy; points at 0 carry no information and are left out.
        gain: [n] gold reward, or win rate, less that of the reference.

    Raises:
        StatisticError: If fewer than three distances are above 0, or the gains are all the same.

    Source:
        Rafailov et al. 2024, arXiv:2406.02900, eq. 5; the law: Gao et al. 2022, arXiv:2210.10760.

    Example:
        >>> d = np.array([0.5, 1.0, 2.0, 4.0])
        >>> found = fit_overoptimisation(d, d * (2.0 - np.log(d)))
        >>> round(found.alpha, 6), round(found.beta, 6), round(found.peak, 4)  # e^(2 / 1 - 1)
        (2.0, 1.0, 2.7183)
    """
    d, r = np.asarray(distance, dtype=np.float64), np.asarray(gain, dtype=np.float64)
    if d.shape != r.shape or d.ndim != 1:
        raise StatisticError(f"`distance` {d.shape} and `gain` {r.shape} must be [n] both.")
    d, r = d[d > 0], r[d > 0]
    if len(d) < 3 or np.ptp(r) == 0:
        raise StatisticError(
            f"A law of two numbers needs three distances above 0 and gains that differ, got "
            f"{len(d)}: look at more checkpoints."
        )
    (alpha, beta), explained = _least_squares(np.stack([d, -d * np.log(d)], 1), r)
    _, by_line = _least_squares(np.stack([np.ones_like(d), d], 1), r)
    peak = float(np.exp(alpha / beta - 1)) if beta > 0 else None
    peak_gain = None if peak is None else float(beta * peak)
    return Overoptimisation(float(alpha), float(beta), explained, by_line, peak, peak_gain)


def top_k_entropy(log_prob: ArrayLike, k: int = 10) -> Floats:
    """Return [...] the part of the entropy that the k likeliest choices hold, nats.

    Probabilities are taken as they are: brought to a sum of 1 first, they would say something else.

    Args:
        log_prob: [..., V] log-probabilities of the next token at each position.
        k: How many.

    Source:
        Shi et al. 2024, arXiv:2410.11677, section 5.

    Example:
        >>> top_k_entropy(np.log([[0.5, 0.25, 0.25]]), k=1).round(4)  # 0.5 log 2
        array([0.3466])
    """
    top = _top(log_prob, k)
    entropy: Floats = -(np.exp(top) * np.where(np.isneginf(top), 0.0, top)).sum(-1)
    return entropy


def top_k_mass(log_prob: ArrayLike, k: int = 10) -> Floats:
    """Return [...] the probability of the k likeliest choices together.

    It rises where a policy collapses and falls where probability leaks into the tail.

    Args:
        log_prob: [..., V] log-probabilities of the next token at each position.
        k: How many.

    Source:
        Shi et al. 2024, arXiv:2410.11677, section 5.

    Example:
        >>> top_k_mass(np.log([[0.5, 0.25, 0.25]]), k=2)
        array([0.75])
    """
    mass: Floats = np.exp(_top(log_prob, k)).sum(-1)
    return mass


def stop_at(signals: Sequence[ArrayLike], margin: ArrayLike, *, window: int = 5) -> int | None:
    """Return the evaluation to go back to: the last before all signals fell as the margin rose.

    What falls is the slope of a straight line through the last `window` evaluations.

    Args:
        signals: Each [T], one number per evaluation: `top_k_entropy`, `top_k_mass`, or both.
        margin: [T] mean margin on the training pairs, which keeps growing in a run gone too far.
        window: Evaluations of a slope.

    Returns:
        Position of the evaluation, or None if there was no alarm.

    Raises:
        StatisticError: If there is no signal, lengths differ, or the window is below 2.

    Example:
        >>> stop_at([[1.0, 2.0, 3.0, 2.0, 1.0]], [0.0, 1.0, 2.0, 3.0, 4.0], window=2)
        2
    """
    rows = np.array([*signals, margin], dtype=np.float64)
    if len(rows) < 2 or rows.ndim != 2 or window < 2:
        raise StatisticError("Give one signal or more, as long as the margin, and a window of 2.")
    centred = np.arange(window) - (window - 1) / 2
    for end in range(window, rows.shape[1] + 1):
        slopes = rows[:, end - window : end] @ centred
        if (slopes[:-1] < 0).all() and slopes[-1] > 0:
            return end - window
    return None


def _top(log_prob: ArrayLike, k: int) -> Floats:
    values = np.asarray(log_prob, dtype=np.float64)
    if not 1 <= k <= values.shape[-1]:
        raise StatisticError(f"`k` must be in [1, {values.shape[-1]}], got {k}.")
    return np.sort(values, axis=-1)[..., -k:]


def _least_squares(columns: Floats, values: Floats) -> tuple[Floats, float]:
    """Return the coefficients, and the share of the variance that they explain."""
    found = np.asarray(np.linalg.lstsq(columns, values, rcond=None)[0], dtype=np.float64)
    left = np.square(values - columns @ found).sum()
    return found, float(1 - left / np.square(values - values.mean()).sum())
