"""What a run came to on held-out data, with its uncertainty."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from prefine.evaluation.ranking import ranking_report
from prefine.evaluation.reward import reward_report
from prefine.models.score import score_rows
from prefine.protocols import Batch, Draw
from prefine.scores import ItemScores, Needs
from prefine.statistics import Stat, cluster_bootstrap

if TYPE_CHECKING:
    from prefine.training.plan import Plan
    from prefine.training.trainer import PreferenceTrainer

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Held-out numbers of a finished run.

    Attributes:
        metrics: Numbers by name; empty if nothing was held out.
        rows: The held-out rows, encoded.
        scores: One list per row: the score of each item under the trained model.
        reference: The same under the reference, or None.
    """

    metrics: dict[str, Stat] = field(default_factory=dict)
    rows: Sequence[Row] = ()
    scores: Sequence[Sequence[float]] = ()
    reference: Sequence[Sequence[float]] | None = None


def evaluate_run(plan: "Plan", trainer: "PreferenceTrainer") -> Outcome:
    """Score the held-out rows once with the trained model and report on them."""
    held_out = plan.data.held_out
    if held_out is None:
        return Outcome()
    rows = [held_out[at] for at in range(len(held_out))]
    scores = score_rows(rows, trainer.policy, plan.adapter)
    reference = _reference_scores(trainer, rows)
    view_rows = [plan.data.held_out_view.rows[row["at"]] for row in rows]
    if plan.declared.data == "pair" and plan.adapter.unit == "reward":
        metrics = reward_report(view_rows, [pair[:2] for pair in scores])
    elif plan.declared.data == "pair":
        metrics = _policy_metrics(view_rows, rows, scores, reference)
    else:
        metrics = _likelihood(rows, scores, reference)
    return Outcome(metrics, rows, scores, reference)


def _reference_scores(
    trainer: "PreferenceTrainer", rows: Sequence[Row]
) -> list[list[float]] | None:
    if not trainer.needs.reference:
        return None
    if all("reference" in row for row in rows):
        return [list(row["reference"]) for row in rows]

    def under_reference(batch: Batch, draw: Draw | None, needs: Needs) -> ItemScores:
        return trainer.reference(batch, draw, needs, trainer.policy)

    return score_rows(rows, trainer.policy, trainer.adapter, call=under_reference)


def _policy_metrics(
    view_rows: Sequence[Row],
    rows: Sequence[Row],
    scores: Sequence[Sequence[float]],
    reference: Sequence[Sequence[float]] | None,
) -> dict[str, Stat]:
    lengths = [[float(mask.sum()) for mask in row["mask"][:2]] for row in rows]
    base = None if reference is None else [pair[:2] for pair in reference]
    return ranking_report(view_rows, [pair[:2] for pair in scores], base, lengths)


def _likelihood(
    rows: Sequence[Row],
    scores: Sequence[Sequence[float]],
    reference: Sequence[Sequence[float]] | None,
) -> dict[str, Stat]:
    """Numbers of points and lists: likelihood per token, and how well what is liked stands out."""
    clusters = [str(row["cluster"]) for row in rows]
    first = np.array([values[0] for values in scores])
    length = np.array([max(1.0, float(row["mask"][0].sum())) for row in rows])
    metrics = {"log_prob_per_token": cluster_bootstrap(first / length, clusters)}
    good = _labels(rows)
    if good is not None and reference is not None:
        gain = first - np.array([values[0] for values in reference])
        right = np.where(gain == 0, 0.5, (gain > 0) == good)
        metrics["accuracy"] = cluster_bootstrap(right.astype(float), clusters)
    if rows[0]["roles"][0] != "response":  # lists: the other items are rivals
        metrics["best_is_first"] = cluster_bootstrap(_best_first(scores, reference), clusters)
    return metrics


def _labels(rows: Sequence[Row]) -> NDArray[np.bool_] | None:
    labels = [row["label"][0] if row.get("label") else None for row in rows]
    if any(label is None for label in labels):
        return None
    return np.array([bool(label) for label in labels])


def _best_first(
    scores: Sequence[Sequence[float]], reference: Sequence[Sequence[float]] | None
) -> NDArray[np.float64]:
    """Whether the best response has the greatest log-ratio (log-probability without a reference).

    Where k responses share the greatest, each of them is 1/k of an answer.
    """
    base = reference or [[0.0] * len(values) for values in scores]
    gaps = [np.subtract(values, other) for values, other in zip(scores, base, strict=True)]
    return np.array([(gap[0] == gap.max()) / (gap == gap.max()).sum() for gap in gaps])
