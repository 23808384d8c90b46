"""Which action a tutor takes, by the reply that it finds likeliest, against the right one."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from prefine.errors import NonFiniteError, StatisticError
from prefine.evaluation._rows import Floats
from prefine.records import Record
from prefine.records.views import Who
from prefine.records.votes import PairRule, SetAside, pairs_of
from prefine.statistics import Stat, cluster_bootstrap, proportion

ACTION = "action"
"""Aspect of the signals that name the action of a reply, as `prefine.curation.Tutor` has it."""


@dataclass(frozen=True, slots=True)
class Actions:
    """What the replies of a turn do.

    Attributes:
        record: Id of the record.
        cluster: Its cluster.
        of: [K] the action of each candidate, in the record's order; None where nobody labelled it.
        right: The action of the reply that wins.
    """

    record: str
    cluster: str
    of: tuple[str | None, ...]
    right: str


def actions_of(record: Record) -> Actions | None:
    """Read the labelled actions of a turn, and the action of its best reply.

    Labels are signals of the aspect `action` with one category; the best reply is the one that won
    comparisons and lost none.

    Returns:
        The actions; None where fewer than two replies are labelled, a label is contradicted, or no
        single labelled reply wins.

    Example:
        >>> from prefine.curation import Tutor
        >>> from prefine.records import Candidate, Message, Step
        >>> told = Candidate("c0", (Message("assistant", "4"),), steps=(Step("2 + 2 is 4."),))
        >>> question = Record(context=(Message("user", "2 + 2?"),), candidates=(told,))
        >>> (turn,) = Tutor()(question)
        >>> actions_of(turn).of
        ('confirm', 'hint', 'question', 'answer')
    """
    named: dict[str, set[str]] = {}
    for judgment in record.judgments:
        if judgment.kind == "signal" and judgment.aspect == ACTION and judgment.valid:
            named.setdefault(str(judgment.target), set()).update(judgment.category or ())
    if len(named) < 2 or any(len(names) != 1 for names in named.values()):
        return None
    best = _best(record)
    if best not in named:
        return None
    of = {target: next(iter(names)) for target, names in named.items()}
    known = tuple(of.get(candidate.id) for candidate in record.candidates)
    return Actions(record.id, record.cluster, known, of[best])


def _best(record: Record) -> str | None:
    """The reply that won and never lost; None unless it is a single one."""
    won, lost = set[str](), set[str]()
    for group in Who("overall").groups(record, ("pair", "rank", "rate")):
        if isinstance(group, SetAside):
            continue
        for pair in pairs_of(record, group[1], PairRule()):
            if not isinstance(pair, SetAside):
                won.add(pair.chosen)
                lost.add(pair.rejected)
    best = won - lost
    return best.pop() if len(best) == 1 else None


def action_report(
    turns: Sequence[Actions],
    policy: Mapping[str, ArrayLike],
    lengths: Mapping[str, ArrayLike],
) -> dict[str, Stat]:
    r"""Compare the actions that a tutor takes with the right ones.

    Its action is that of the reply it finds likeliest a token, among the labelled ones:

    .. math:: \hat a = a(\arg\max_k \log\pi(y_k) / |y_k|)

    Args:
        turns: What `actions_of` read of each turn.
        policy: Record -> [K] log-probability of its candidates, nats; NaN where it has none.
        lengths: Record -> [K] scored tokens.

    Returns:
        `action_scored`, the share of turns of which every labelled reply was scored; over these
        `action_accuracy`, and `action_f1`, the mean over actions of the harmonic mean of precision
        and recall. Where replies are equally likely, the first counts.

    Raises:
        StatisticError: If there is no turn, or numbers do not match its replies.
        NonFiniteError: If a log-probability is infinite.

    Source:
        Sonkar et al. 2024, arXiv:2402.05000, which reports accuracy and F1 of the actions that a
        tutor writes; that likelihood chooses among given replies is ours, and so are the intervals.

    Example:
        >>> turns = [Actions("a", "a", ("hint", "answer"), "hint"),
        ...          Actions("b", "b", ("hint", "answer"), "hint")]
        >>> report = action_report(
        ...     turns, {"a": [-4, -9], "b": [-6, -3]}, {"a": [2, 3], "b": [2, 3]})
        >>> report["action_accuracy"].value  # -2 against -3, then -3 against -1
        0.5
        >>> round(report["action_f1"].value, 4)  # hint 2 / 3, answer 0
        0.3333
    """
    if not turns:
        raise StatisticError(
            "No turn names the actions of its replies, so none can be right. Label them with "
            f"signals of the aspect `{ACTION}`, as `prefine curate tutor` does."
        )
    taken = [_taken(turn, policy.get(turn.record), lengths.get(turn.record)) for turn in turns]
    scored = np.array([action is not None for action in taken])
    clusters = np.array([turn.cluster for turn in turns])
    names = sorted({turn.right for turn in turns} | {name for name in taken if name is not None})
    code = {name: at for at, name in enumerate(names)}
    both = np.array(
        [
            (code[turn.right], code[action])
            for turn, action in zip(turns, taken, strict=True)
            if action is not None
        ],
        dtype=np.float64,
    ).reshape(-1, 2)
    kept = clusters[scored]
    return {
        "action_scored": proportion(scored, clusters),
        "action_accuracy": proportion(both[:, 0] == both[:, 1], kept),
        "action_f1": cluster_bootstrap(both, kept, macro_f1),
    }


def macro_f1(both: Floats) -> float:
    """Return the mean of F1 over the classes that are right or taken somewhere.

    Args:
        both: [n, 2] numbers of the right class and of the one that was taken.

    Example:
        >>> round(macro_f1(np.array([[0, 0], [0, 1], [1, 1], [2, 1]])), 4)  # 2 / 3, 1 / 2 and 0
        0.3889
    """
    right, taken = both[:, 0], both[:, 1]
    found: list[float] = []
    for one in np.union1d(right, taken):
        hits = float(((right == one) & (taken == one)).sum())
        found.append(2 * hits / float((right == one).sum() + (taken == one).sum()))
    return float(np.mean(found)) if found else math.nan


def _taken(turn: Actions, log_prob: ArrayLike | None, tokens: ArrayLike | None) -> str | None:
    """The action of the likeliest labelled reply; None where one has no number."""
    if log_prob is None or tokens is None:
        return None
    values, counts = np.asarray(log_prob, np.float64), np.asarray(tokens, np.float64)
    if values.shape != (len(turn.of),) or counts.shape != values.shape:
        raise StatisticError(
            f"Record {turn.record} has {len(turn.of)} replies, but numbers of shape "
            f"{values.shape} and {counts.shape}."
        )
    labelled = [at for at, action in enumerate(turn.of) if action is not None]
    if np.isinf(values[labelled]).any():
        raise NonFiniteError(
            f"A reply of record {turn.record} has an infinite log-probability, with which no order "
            "can be read. Look at the model that gave it."
        )
    if not (counts[labelled] > 0).all():
        raise StatisticError(f"A reply of record {turn.record} is empty: it has no mean.")
    mean = values[labelled] / counts[labelled]
    return None if np.isnan(mean).any() else turn.of[labelled[int(mean.argmax())]]
