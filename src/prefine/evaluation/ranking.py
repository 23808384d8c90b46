"""Whether a policy finds the better response likelier, which is not what its loss asks for."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from prefine.errors import StatisticError
from prefine.evaluation._rows import is_scored, read_rows, read_scores
from prefine.evaluation.ceiling import AGREEMENT, idealised_gap
from prefine.evaluation.pairs import pair_accuracy
from prefine.evaluation.reward import MEANINGS as REWARD_MEANINGS
from prefine.evaluation.reward import beside_longer, by_tag, margin
from prefine.statistics import Stat, paired_cluster_bootstrap, proportion

Pairwise = ArrayLike | Sequence[Sequence[float]]

MEANINGS = REWARD_MEANINGS | {
    "accuracy": "share of pairs whose better response is likelier under the policy",
    "accuracy_normalised": "the same, log-probability per unit of length",
    "margin": "mean log-probability of the better response minus that of the worse, nats",
    "reward_accuracy": "share of pairs whose better response gained more against the reference",
    "reference_accuracy": "ranking accuracy of the reference itself",
    "idealised_accuracy": "ranking accuracy of the best policy that the penalty of beta allows",
    "difference_to_reference": "accuracy minus the reference's, on the same pairs",
    "flipped_right": "of the pairs that the reference ranks wrong, share that the policy mends",
    "flipped_wrong": "of the pairs that the reference ranks right, share that the policy spoils",
}
"""What each number says, for tables."""


def ranking_accuracy(
    policy: Pairwise,
    reference: Pairwise | None = None,
    lengths: Pairwise | None = None,
    clusters: ArrayLike | None = None,
    *,
    gold: ArrayLike | None = None,
) -> dict[str, Stat]:
    r"""Share of pairs with :math:`\log\pi(y_w) > \log\pi(y_l)`; equal values are half right.

    Reward accuracy, :math:`\log\frac{\pi}{\pi_{ref}}(y_w) > \log\frac{\pi}{\pi_{ref}}(y_l)`, is
    what direct preference losses raise; it can be 1 while ranking accuracy stays at one half.

    Args:
        policy: [n, 2] log-probability of the chosen and the rejected response, nats.
        reference: [n, 2] the same under the reference, or None.
        lengths: [n, 2] scored units of each response, or None.
        clusters: [n] prompt of each pair, or None.
        gold: [n] +1 where the chosen one is better, -1 where the other is, 0 a tie (left out);
            None is +1 throughout.

    Returns:
        `accuracy`; with `lengths`, `accuracy_normalised`; with `reference`, `reward_accuracy`,
        `reference_accuracy`, `difference_to_reference`, `flipped_right` and `flipped_wrong`.

    Raises:
        StatisticError: If shapes differ, or a length is not positive.

    Source:
        Chen et al. 2024, arXiv:2405.19534, definition of ranking accuracy and its flips.

    Example:
        >>> result = ranking_accuracy([[-5.0, -4.0], [-3.0, -9.0]], [[-8.0, -4.0], [-4.0, -9.0]])
        >>> result["accuracy"].value, result["reward_accuracy"].value
        (0.5, 1.0)
    """
    n = len(np.asarray(policy))
    log_prob = read_scores(policy, n, "policy")
    g = np.ones(n) if gold is None else np.asarray(gold, dtype=np.float64)
    gap = log_prob[:, 0] - log_prob[:, 1]
    report = {"accuracy": pair_accuracy(gap, g, clusters)["half"]}
    if lengths is not None:
        units = read_scores(lengths, n, "lengths")
        if not (units > 0).all():
            raise StatisticError("`lengths` must be above 0: an empty response has no mean.")
        mean = log_prob / units
        report["accuracy_normalised"] = pair_accuracy(mean[:, 0] - mean[:, 1], g, clusters)["half"]
    if reference is not None:
        base = read_scores(reference, n, "reference")
        report |= _against_reference(gap, base[:, 0] - base[:, 1], g, clusters)
    return report


def ranking_report(
    view_rows: Iterable[Mapping[str, Any]],
    policy: Pairwise,
    reference: Pairwise | None = None,
    lengths: Pairwise | None = None,
    *,
    tags: Sequence[str] | None = None,
    beta: float | None = None,
) -> dict[str, Stat]:
    """Ranking accuracy of a policy on the rows of a pair view, beside "longer wins".

    Args:
        view_rows: Rows of a pair view, as `records.pairs().rows`.
        policy: [n, 2] log-probability of chosen and rejected, nats; NaN where it has none.
        reference: [n, 2] the same under the reference, or None.
        lengths: [n, 2] scored units of each response, or None.
        tags: Tags to report groups of; None takes every tag with 2 to 20 values.
        beta: Penalty of the loss that made the policy; with a reference it adds
            `idealised_accuracy`, for which a hard label is one that 75% agree with.

    Returns:
        The numbers of `MEANINGS` that the inputs allow, and groups as in `reward_report`.

    Raises:
        StatisticError: If rows and numbers do not match, or rows are not pairs.
        NonFiniteError: If a log-probability is infinite.

    Example:
        >>> ranking_report([], np.zeros((0, 2)))["accuracy"].method
        'no observations'
    """
    pairs = read_rows(view_rows)
    given = {
        name: read_scores(values, len(pairs), name)
        for name, values in (("policy", policy), ("reference", reference), ("lengths", lengths))
        if values is not None
    }
    scored = is_scored(*given.values())
    report = {"scored": proportion(scored, pairs.clusters)}
    pairs = pairs.keep(scored)
    given = {name: values[scored] for name, values in given.items()}
    gap = given["policy"][:, 0] - given["policy"][:, 1]
    report |= beside_longer(pairs, gap)
    report |= ranking_accuracy(
        given["policy"],
        given.get("reference"),
        given.get("lengths"),
        pairs.clusters,
        gold=pairs.gold,
    )
    report["margin"] = margin(pairs, gap)
    if beta is not None and "reference" in given:
        is_soft = (pairs.outcome > 0) & (pairs.outcome < 1)
        share = np.where(is_soft, pairs.outcome, AGREEMENT)
        ideal = idealised_gap(given["reference"], beta=beta, agreement=share)
        accuracy = pair_accuracy(ideal, pairs.gold, pairs.clusters)
        report["idealised_accuracy"] = accuracy["half"]
    return report | by_tag(pairs, gap, tags)


def _against_reference(
    gap: NDArray[np.float64],
    base: NDArray[np.float64],
    gold: NDArray[np.float64],
    clusters: ArrayLike | None,
) -> dict[str, Stat]:
    decided = gold != 0
    labels = None if clusters is None else np.asarray(clusters)[decided]
    ours, theirs = (gap * gold)[decided], (base * gold)[decided]
    was_right = theirs > 0

    def among(which: NDArray[np.bool_], flags: NDArray[np.bool_]) -> Stat:
        return proportion(flags[which], None if labels is None else labels[which])

    return {
        "reward_accuracy": pair_accuracy(gap - base, gold, clusters)["half"],
        "reference_accuracy": pair_accuracy(base, gold, clusters)["half"],
        "difference_to_reference": paired_cluster_bootstrap(
            0.5 + 0.5 * np.sign(ours), 0.5 + 0.5 * np.sign(theirs), labels
        ),
        "flipped_right": among(~was_right, ours > 0),
        "flipped_wrong": among(was_right, ours <= 0),
    }
