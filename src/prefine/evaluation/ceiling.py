"""How far the ranking of pairs could be mended at best, and which pairs are hard to mend.

A direct preference loss moves a policy away from a reference, and a pair that the reference ranks
wrongly by many nats takes many. Arrays hold one number per pair, [n, 2] chosen and rejected.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from prefine.errors import ConfigError
from prefine.evaluation._rows import read_scores
from prefine.evaluation.pairs import pair_accuracy
from prefine.statistics import Stat

Floats = NDArray[np.float64]
AGREEMENT = 0.75
"""Share of people taken to agree with a label where it is not known; the paper's."""
SUREST = 1 - 1e-3


def idealised_gap(
    reference: ArrayLike, *, beta: float = 0.1, agreement: ArrayLike = AGREEMENT
) -> Floats:
    r"""Return [n] the lead of the chosen response under the best policy that a penalty allows.

    .. math:: \log\frac{\pi^*(y_w)}{\pi^*(y_l)} = \log\frac{ref(y_w)}{ref(y_l)}
        + \frac{1}{\beta}\log\frac{a}{1-a}

    Args:
        reference: [n, 2] log-probability of the chosen and the rejected response, nats.
        beta: Strength of the KL penalty.
        agreement: [n] or one share a of people who prefer the chosen response; brought to
            [0.001, 0.999], since a certain label would ask for an infinite lead.

    Raises:
        ConfigError: If `beta` is not above 0, or a share not in [0, 1].
        StatisticError: If `reference` is not of shape [n, 2].

    Source:
        Chen et al. 2024, arXiv:2405.19534, theorem 3.1.

    Example:
        >>> gap = idealised_gap([[-9.0, -1.0]], beta=0.5, agreement=0.95)
        >>> round(float(gap[0]), 4)  # -8 + 2 log 19
        -2.1111
    """
    base = read_scores(reference, len(np.asarray(reference)), "reference")
    share = np.asarray(agreement, dtype=np.float64)
    _check_beta(beta)
    if not ((share >= 0) & (share <= 1)).all():
        raise ConfigError("`agreement` must be shares in [0, 1].")
    share = share.clip(1 - SUREST, SUREST)
    return base[:, 0] - base[:, 1] + np.log(share / (1 - share)) / beta


def idealised_accuracy(
    reference: ArrayLike,
    clusters: ArrayLike | None = None,
    *,
    beta: float = 0.1,
    agreement: ArrayLike = AGREEMENT,
) -> Stat:
    """Share of pairs that the best policy under a penalty would rank as their labels do.

    Beside it `ranking_accuracy` says how much of what was possible was reached.

    Args:
        reference: [n, 2] log-probability of the chosen and the rejected response, nats.
        clusters: [n] prompt of each pair, or None.
        beta: Strength of the KL penalty.
        agreement: As for `idealised_gap`.

    Raises:
        ConfigError: As `idealised_gap`.
        StatisticError: As `idealised_gap`.

    Example:
        >>> idealised_accuracy([[-9.0, -1.0], [-30.0, -1.0]], beta=0.1).value  # 11 nats mend one
        0.5
    """
    gap = idealised_gap(reference, beta=beta, agreement=agreement)
    return pair_accuracy(gap, np.ones(len(gap)), clusters)["half"]


def flip_loss(reference: ArrayLike, *, beta: float = 0.1) -> Floats:
    r"""Return [n] the loss of `dpo` at or below which a pair is ranked right.

    .. math:: \ell \le -\log\sigma(\beta c), \quad c = \log\frac{ref(y_l)}{ref(y_w)}

    It holds for `dpo` with the same beta and a hard label, and of each pair by itself: a mean loss
    below the mean threshold says nothing. The smaller the number, the harder the pair.

    Args:
        reference: [n, 2] log-probability of the chosen and the rejected response, nats.
        beta: That of the loss.

    Raises:
        ConfigError: If `beta` is not above 0.
        StatisticError: If `reference` is not of shape [n, 2].

    Source:
        Chen et al. 2024, arXiv:2405.19534, theorem 4.1.

    Example:
        >>> flip_loss([[-1.0, -1.0], [-31.0, -1.0]], beta=0.1).round(4)  # log 2; 30 nats behind
        array([0.6931, 0.0486])
    """
    base = read_scores(reference, len(np.asarray(reference)), "reference")
    _check_beta(beta)
    threshold: Floats = np.logaddexp(0.0, -beta * (base[:, 1] - base[:, 0]))
    return threshold


def _check_beta(beta: float) -> None:
    if not beta > 0:
        raise ConfigError(f"`beta` must be positive, got {beta}.")
