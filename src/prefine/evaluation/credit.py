"""Which tokens of a response a policy was taught to write, and which to avoid."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from prefine.errors import StatisticError
from prefine.evaluation._rows import read_rows
from prefine.statistics import Stat, cluster_bootstrap

Floats = NDArray[np.float64]

MEANINGS = {
    "credit_chosen": "mean credit of a token of the preferred response, in units of reward",
    "credit_rejected": "the same of the other response",
    "reward_chosen": "mean over preferred responses of the sum of their credits: implicit reward",
    "reward_rejected": "the same of the other responses",
    "lowest_rejected": "mean over the other responses of the credit of their lowest stretch",
}
"""What each number says, for tables."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Some tokens in a row, and the mean of their credits.

    Attributes:
        start: The first token.
        stop: The token after the last.
        credit: In units of reward.
    """

    start: int
    stop: int
    credit: float


def token_credit(log_prob: ArrayLike, reference: ArrayLike, *, beta: float) -> Floats:
    r"""Return what each token adds to the implicit reward: :math:`\beta\log\frac{\pi}{\pi_{ref}}`.

    At the optimum of a reward with a KL penalty of strength beta it is the advantage of the token,
    :math:`r(s, a) + V^*(s') - V^*(s)`. Summed over a response it is the reward of the whole, but
    for a number that all responses to a prompt share.

    Args:
        log_prob: [..., L] log-probability of each token under the policy, nats.
        reference: [..., L] the same under the reference that the policy was trained against.
        beta: Strength of the penalty that it was trained with, reward per nat.

    Returns:
        [..., L] in units of reward.

    Raises:
        StatisticError: If shapes differ, or beta is not above 0.

    Source:
        Rafailov et al. 2024, arXiv:2404.12358, section 4.2. There the reference is part of the
        reward; here it is not, so beta times the log-ratio is an advantage, not a Q-value.

    Example:
        >>> token_credit([-1.0, -0.5], [-1.0, -2.5], beta=0.1).tolist()
        [0.0, 0.2]
    """
    own, other = (np.asarray(each, dtype=np.float64) for each in (log_prob, reference))
    if own.shape != other.shape:
        raise StatisticError(
            f"The policy scored tokens of shape {own.shape} and the reference {other.shape}. "
            "Credit compares the same tokens: use one tokenizer and one chat template for both."
        )
    if not beta > 0:
        raise StatisticError(f"`beta` must be above 0, the strength of the training, got {beta}.")
    return beta * (own - other)


def stretches(credit: ArrayLike, size: int) -> list[Stretch]:
    """Cut a response into stretches of some tokens, each with its mean credit.

    A single token's credit is noisy by about 1 nat; a mean says more about a part of a text.

    Args:
        credit: [L] one for each token.
        size: Tokens of a stretch; the last one may be shorter.

    Raises:
        StatisticError: If `size` is below 1, or the credits are not those of one response.

    Example:
        >>> [one.credit for one in stretches([1.0, 3.0, -1.0], size=2)]
        [2.0, -1.0]
    """
    values = np.asarray(credit, dtype=np.float64)
    if size < 1 or values.ndim != 1:
        raise StatisticError(
            f"Stretches are cut from one response [L], 1 token long or more; got shape "
            f"{values.shape} and `size` {size}."
        )
    cuts = [*range(0, len(values), size), len(values)]
    return [Stretch(a, b, float(values[a:b].mean())) for a, b in pairwise(cuts) if a < b]


def credit_report(
    view_rows: Iterable[Mapping[str, Any]],
    credits: Sequence[Sequence[Sequence[float]]],
    *,
    size: int,
) -> dict[str, Stat]:
    """Return what credits say of whole pairs, ties left out.

    Args:
        view_rows: Rows of a pair view, as `records.pairs().rows`.
        credits: [n][2][L] of every token of chosen and rejected.
        size: Tokens of a stretch.

    Returns:
        The numbers of `MEANINGS`, with intervals over prompts.

    Raises:
        StatisticError: If there is not one list of credits for each pair.
    """
    pairs = read_rows(view_rows)
    if len(pairs) != len(credits):
        raise StatisticError(f"There are {len(pairs)} pairs, but credits of {len(credits)}.")
    better = [
        both if gold > 0 else both[::-1]
        for both, gold in zip(credits, pairs.gold, strict=True)
        if gold != 0
    ]
    clusters = pairs.clusters[pairs.gold != 0]
    report: dict[str, Stat] = {}
    for at, name in enumerate(("chosen", "rejected")):
        tokens = [both[at] for both in better]
        report[f"credit_{name}"] = cluster_bootstrap([np.mean(one) for one in tokens], clusters)
        report[f"reward_{name}"] = cluster_bootstrap([np.sum(one) for one in tokens], clusters)
    lowest = [min(one.credit for one in stretches(both[1], size)) for both in better]
    return report | {"lowest_rejected": cluster_bootstrap(lowest, clusters)}
