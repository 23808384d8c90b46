"""Which pairs a reward finds clear, which it cannot tell, and which it contradicts."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from prefine.errors import StatisticError


@dataclass(frozen=True, slots=True)
class MarginSplit:
    """Pairs by the lead that a reward gives the chosen response.

    Attributes:
        threshold: Lead above which a pair is easy.
        easy: [n] the reward agrees with the label, and by more than the threshold.
        hard: [n] the lead, either way, is at most the threshold.
        contradicted: [n] the rejected response leads by more than the threshold.
    """

    threshold: float
    easy: NDArray[np.bool_]
    hard: NDArray[np.bool_]
    contradicted: NDArray[np.bool_]


def split_by_margin(gap: ArrayLike, threshold: float | None = None) -> MarginSplit:
    """Split pairs into easy, hard and contradicted ones.

    A reward that was fitted to the same pairs agrees with them too readily: take one of other
    pairs, or score each fold by a reward of the rest. By the size of the lead alone, without its
    sign, wrong labels would be taken for the clearest.

    Args:
        gap: [n] reward of the chosen response less that of the rejected one.
        threshold: Or None for the median of the leads above 0.

    Raises:
        StatisticError: If the threshold is negative, or must be found and no lead is above 0.

    Source:
        Wang et al. 2024, arXiv:2403.19443 (mixed preference optimisation), selects by the size of
        the lead; what becomes of contradicted pairs is ours.

    Example:
        >>> found = split_by_margin([3.0, 1.0, -0.5, -4.0, 2.0])
        >>> found.threshold, found.easy.tolist()
        (2.0, [True, False, False, False, False])
        >>> found.contradicted.tolist()
        [False, False, False, True, False]
    """
    lead = np.asarray(gap, dtype=np.float64)
    if threshold is None:
        if not (lead > 0).any():
            raise StatisticError("No pair has a lead above 0, so there is no median: set a number.")
        threshold = float(np.median(lead[lead > 0]))
    if not threshold >= 0:
        raise StatisticError(f"`threshold` must be at least 0, got {threshold}.")
    return MarginSplit(threshold, lead > threshold, np.abs(lead) <= threshold, lead < -threshold)
