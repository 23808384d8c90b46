"""How well a policy tells instructions apart: its responses under their own and under others."""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from prefine.errors import StatisticError

Floats = NDArray[np.float64]

MEANINGS = {
    "own_instruction": "share of responses that are likelier, token for token, under their own "
    "instruction than under any other",
    "information": "lower bound on the mutual information of instruction and response, nats; at "
    "most the logarithm of the number of instructions",
}
"""What is measured of each grid."""


def grid_measures(scores: ArrayLike, lengths: ArrayLike) -> Mapping[str, Floats]:
    r"""Measure grids, each in `MEANINGS`.

    .. math:: \log C + \frac{1}{2C} \sum_i \Big[\log\frac{e^{S_{ii}}}{\sum_j e^{S_{ij}}} +
        \log\frac{e^{S_{ii}}}{\sum_j e^{S_{ji}}}\Big]

    is the bound, with :math:`S_{ij}` the mean log-probability of a token of response j under
    instruction i.

    Args:
        scores: [n, C * C] log-probability of response j under instruction i at `i * C + j`, nats.
        lengths: [n, C * C] scored tokens.

    Returns:
        [n] numbers by name; not a number where a cell could not be scored.

    Raises:
        StatisticError: If the rows are no grids.

    Source:
        The bound: Fränken et al. 2024, arXiv:2404.14313.

    Example:
        >>> found = grid_measures([[-1.0, -3.0, -2.0, -2.0]], [[1.0] * 4])
        >>> found["own_instruction"], found["information"].round(4)
        (array([1.]), array([0.3315]))
    """
    sums, counts = np.asarray(scores, np.float64), np.asarray(lengths, np.float64)
    side = math.isqrt(sums.shape[1]) if sums.ndim == 2 else 0
    if side < 2 or side * side != sums.shape[1] or counts.shape != sums.shape:
        raise StatisticError(
            f"A grid holds as many responses as instructions, 2 or more; got numbers of shape "
            f"{sums.shape} and lengths of shape {counts.shape}."
        )
    unknown = np.isnan(sums).any(1)
    cells = np.nan_to_num(sums / np.maximum(counts, 1.0)).reshape(-1, side, side)
    own = np.diagonal(cells, axis1=1, axis2=2)
    best = cells.max(1)
    shared = (cells == best[:, None]).sum(1)
    right = np.where(own == best, 1.0 / np.maximum(shared, 1), 0.0).mean(1)
    loss = np.logaddexp.reduce(cells, 2) + np.logaddexp.reduce(cells, 1) - 2 * own
    found = {"own_instruction": right, "information": math.log(side) - loss.mean(1) / 2}
    return {name: np.where(unknown, np.nan, values) for name, values in found.items()}
