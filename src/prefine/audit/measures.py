"""Numbers of single held-out rows, which two runs on the same rows can be compared in."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prefine.evaluation.grids import MEANINGS as OF_GRIDS
from prefine.evaluation.grids import grid_measures

Row = Mapping[str, Any]
Floats = NDArray[np.float64]

MEANINGS = {
    "accuracy": "the better response has the higher score (log-probability or reward)",
    "accuracy_normalised": "the same, log-probability per unit of length",
    "reward_accuracy": "the better response gained more against the reference",
    "margin": "score of the better response minus that of the other",
    "log_ratio_margin": "log-ratio to the reference of the better response minus the other's, nats",
    "log_loss": "minus the log-probability that a reward gives to what people said, nats",
    "log_prob_chosen": "log-probability of the chosen response, nats",
    "log_prob_per_token": "log-probability of a token of the first response, nats",
    "label_accuracy": "what is liked gained against the reference, what is not lost",
    "best_is_first": "the best response of a list gained most",
    **OF_GRIDS,
}
"""What a measure is, of one row."""


def measures(rows: Sequence[Row], unit: str) -> dict[str, Floats]:
    """Return `{name: [n]}` for the held-out rows of a run; NaN where a row has no such number.

    Args:
        rows: Rows as `training.held_out` writes them.
        unit: `"nats"` for a policy, `"reward"` for a reward model.

    Example:
        >>> row = {"roles": ["chosen", "rejected"], "scores": [-3.0, -4.0], "reference": None,
        ...        "length": [3.0, 2.0], "prob": None, "tie": False, "label": None}
        >>> {name: float(values[0]) for name, values in measures([row], "nats").items()}
        {'accuracy': 1.0, 'accuracy_normalised': 1.0, 'margin': 1.0, 'log_prob_chosen': -3.0}
    """
    if not rows:
        return {}
    if rows[0]["roles"][:2] == ["chosen", "rejected"]:
        found = _of_pairs(rows, unit)
    elif rows[0]["roles"][0] == "response":
        found = _of_points(rows)
    elif rows[0]["roles"][0].startswith("cell_"):
        cells = len(rows[0]["roles"])
        scores, lengths = (_numbers(rows, name, cells) for name in ("scores", "length"))
        found = dict(grid_measures(scores, lengths))
    else:
        found = _of_lists(rows)
    return {name: values for name, values in found.items() if not np.isnan(values).all()}


def _of_pairs(rows: Sequence[Row], unit: str) -> dict[str, Floats]:
    scores, gold = _numbers(rows, "scores", 2), np.array([_gold(row) for row in rows])
    gap = (scores[:, 0] - scores[:, 1]) * gold
    gap[gold == 0] = np.nan  # a tie has no winner
    found = {"accuracy": _right(gap)}
    if unit == "reward":
        prob = np.array([_prob(row) for row in rows])
        signed = scores[:, 0] - scores[:, 1]
        loss = prob * np.logaddexp(0, -signed) + (1 - prob) * np.logaddexp(0, signed)
        return found | {"margin": gap, "log_loss": loss}
    length = np.maximum(_numbers(rows, "length", 2), 1.0)
    each = (scores / length)[:, 0] - (scores / length)[:, 1]
    found["accuracy_normalised"] = _right(np.where(gold == 0, np.nan, each * gold))
    found |= {"margin": gap, "log_prob_chosen": scores[:, 0]}
    base = _reference(rows, 2)
    if base is not None:
        gained = gap - (base[:, 0] - base[:, 1]) * gold
        found |= {"reward_accuracy": _right(gained), "log_ratio_margin": gained}
    return found


def _of_points(rows: Sequence[Row]) -> dict[str, Floats]:
    scores = _numbers(rows, "scores", 1)[:, 0]
    found = {"log_prob_per_token": scores / np.maximum(_numbers(rows, "length", 1)[:, 0], 1.0)}
    base = _reference(rows, 1)
    labels = [(row["label"] or [None])[0] for row in rows]
    if base is not None and None not in labels:
        gain = scores - base[:, 0]
        found["label_accuracy"] = _right(gain * np.where(np.array(labels, dtype=bool), 1.0, -1.0))
    return found


def _of_lists(rows: Sequence[Row]) -> dict[str, Floats]:
    first = _numbers(rows, "scores", 1)[:, 0]
    length = np.maximum(_numbers(rows, "length", 1)[:, 0], 1.0)
    return {
        "best_is_first": np.array([_best(row) for row in rows]),
        "log_prob_per_token": first / length,
    }


def _best(row: Row) -> float:
    """1/k where the best response shares the greatest gain with k - 1 others."""
    base = row["reference"] or [0.0] * len(row["scores"])
    if None in row["scores"] or None in base:
        return np.nan
    gain = np.subtract(row["scores"], base)
    return float((gain[0] == gain.max()) / (gain == gain.max()).sum())


def _numbers(rows: Sequence[Row], name: str, count: int) -> Floats:
    """Return [n, count]; what could not be scored is NaN."""
    return np.array([row[name][:count] for row in rows], dtype=np.float64)


def _reference(rows: Sequence[Row], count: int) -> Floats | None:
    if any(row["reference"] is None for row in rows):
        return None
    return _numbers(rows, "reference", count)


def _prob(row: Row) -> float:
    if row["tie"]:
        return 0.5
    return 1.0 if row["prob"] is None else float(row["prob"])


def _gold(row: Row) -> float:
    return float(np.sign(_prob(row) - 0.5))


def _right(gap: Floats) -> Floats:
    return np.where(np.isnan(gap), np.nan, 0.5 + 0.5 * np.sign(gap))
