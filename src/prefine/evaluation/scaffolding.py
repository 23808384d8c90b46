"""Whether a tutor's policy finds a hint likelier than the answer, token for token."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from prefine.errors import StatisticError
from prefine.evaluation._rows import is_scored, read_rows, read_scores
from prefine.evaluation.groups import by_group
from prefine.evaluation.ranking import Pairwise
from prefine.statistics import Stat, cluster_bootstrap, proportion


def scaffolding_report(
    view_rows: Iterable[Mapping[str, Any]], policy: Pairwise, lengths: Pairwise
) -> dict[str, Stat]:
    r"""Compare scaffolded replies with plain answers by their mean log-probability.

    Replies differ in length by their kind, so sums would say who is shorter:

    .. math:: \mathrm{rate} = \mathrm{mean}\,[\bar\ell_{hint} > \bar\ell_{answer}], \quad
        \mathrm{gap} = \mathrm{mean}\,(\bar\ell_{hint} - \bar\ell_{answer}),
        \quad \bar\ell = \log\pi(y) / |y|

    Args:
        view_rows: Rows of a pair view whose rejected responses are the answers, such as those of
            `prefine.curation.Tutor`; ties are left out.
        policy: [n, 2] log-probability of reply and answer, nats; NaN where it has none.
        lengths: [n, 2] scored tokens.

    Returns:
        `scored`; `hint_rate`, the share of turns where the reply is likelier a token than the
        answer; `hint_gap`, the mean difference, nats a token; and both by the tag `student` where
        rows differ in it (`hint_rate/stuck`, ...).

    Raises:
        StatisticError: If rows and numbers do not match, or a length is not positive.
        NonFiniteError: If a log-probability is infinite.

    Source:
        Sonkar et al. 2024, arXiv:2402.05000, whose later version compares perplexities; the
        intervals are ours.

    Example:
        >>> rows = [
        ...     {"items": [{"prompt": 0, "response": 0, "role": "chosen"},
        ...                {"prompt": 0, "response": 1, "role": "rejected"}],
        ...      "responses": ['[{"content": "Try."}]', '[{"content": "It is 4."}]'],
        ...      "tie": False, "prob": None, "weight": 1.0, "cluster": str(k), "tags": "{}"}
        ...     for k in range(2)
        ... ]
        >>> report = scaffolding_report(rows, [[-4.0, -9.0], [-6.0, -6.0]], [[2, 3], [2, 3]])
        >>> report["hint_rate"].value, report["hint_gap"].value  # -2 and -3 against -3 and -2
        (0.5, 0.0)
    """
    pairs = read_rows(view_rows)
    log_prob = read_scores(policy, len(pairs), "policy")
    units = read_scores(lengths, len(pairs), "lengths")
    if not (units > 0).all():
        raise StatisticError("`lengths` must be above 0: an empty reply has no mean.")
    scored = is_scored(log_prob)
    report = {"scored": proportion(scored, pairs.clusters)}
    kept = scored & (pairs.gold > 0)
    pairs, mean = pairs.keep(kept), (log_prob / units)[kept]
    gap = mean[:, 0] - mean[:, 1]
    likelier = (gap > 0) + 0.5 * (gap == 0)
    report["hint_rate"] = cluster_bootstrap(likelier, pairs.clusters)
    report["hint_gap"] = cluster_bootstrap(gap, pairs.clusters)
    states = np.array([str(tags.get("student", "")) for tags in pairs.tags])
    if len(set(states)) > 1:
        for name, values in (("hint_rate", likelier), ("hint_gap", gap)):
            for state, stat in by_group(values, list(states), pairs.clusters).groups.items():
                report[f"{name}/{state or '(none)'}"] = stat
    return report
