"""What a run came to on held-out data, with its uncertainty."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from prefine.evaluation.grids import grid_measures
from prefine.evaluation.ranking import ranking_report
from prefine.evaluation.reward import reward_report
from prefine.models.score import score_rows
from prefine.protocols import Batch, Draw
from prefine.scores import ItemScores, Needs
from prefine.statistics import Stat, cluster_bootstrap
from prefine.training.fit import GRID
from prefine.training.shown import Shown, draw_shown

if TYPE_CHECKING:
    from prefine.training.plan import Plan
    from prefine.training.trainer import PreferenceTrainer

Row = Mapping[str, Any]

OF_LENGTH = ("baseline_longer", "difference_to_longer", "length_correlation")
"""Numbers that say nothing where responses have no length, as pictures."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Held-out numbers of a finished run.

    Attributes:
        metrics: Numbers by name; empty if nothing was held out.
        rows: The held-out rows, encoded.
        scores: One list per row: the score of each item under the trained model.
        reference: The same under the reference, or None.
        shown: Pictures of a few captions, before and after training.
    """

    metrics: dict[str, Stat] = field(default_factory=dict)
    rows: Sequence[Row] = ()
    scores: Sequence[Sequence[float]] = ()
    reference: Sequence[Sequence[float]] | None = None
    shown: Sequence[tuple[Shown, Shown]] = ()


def evaluate_run(
    plan: "Plan", trainer: "PreferenceTrainer", before: Sequence[Shown] = ()
) -> Outcome:
    """Score the held-out rows once with the trained model and report on them.

    Args:
        plan: The run.
        trainer: After training.
        before: Pictures that were drawn before it; they are drawn again.
    """
    held_out = plan.data.held_out
    shown = list(zip(before, draw_shown(plan, len(before)), strict=True))
    if held_out is None:
        return Outcome(shown=shown)
    rows = [held_out.alone(at) for at in range(len(held_out))]
    adapter = _for_evaluation(plan, rows)
    scores = score_rows(rows, trainer.policy, adapter)
    reference = _reference_scores(trainer, rows, adapter)
    view_rows = [plan.data.held_out_view.rows[row["at"]] for row in rows]
    of_pairs = plan.data.held_out_view.kind == "pair"
    if of_pairs and plan.adapter.unit == "reward":
        metrics = reward_report(view_rows, [pair[:2] for pair in scores])
    elif of_pairs:
        metrics = _policy_metrics(view_rows, rows, scores, reference)
    elif GRID in plan.declared.needs.roles:
        metrics = _of_grids(rows, scores)
    else:
        metrics = _likelihood(rows, scores, reference, plan.adapter.unit)
    return Outcome(metrics, rows, scores, reference, shown)


def _for_evaluation(plan: "Plan", rows: Sequence[Row]) -> Any:
    """The adapter, with more draws of a row where its reference is not cached with fewer."""
    if plan.pictures is None or any("reference" in row for row in rows):
        return plan.adapter
    return replace(plan.adapter, draws=plan.denoising.eval_draws)


def _reference_scores(
    trainer: "PreferenceTrainer", rows: Sequence[Row], adapter: Any
) -> list[list[float]] | None:
    if not trainer.needs.reference:
        return None
    if all("reference" in row for row in rows):
        return [list(row["reference"]) for row in rows]

    def under_reference(batch: Batch, draw: Draw | None, needs: Needs) -> ItemScores:
        return trainer.reference(batch, draw, needs, trainer.policy)

    return score_rows(rows, trainer.policy, adapter, call=under_reference)


def _policy_metrics(
    view_rows: Sequence[Row],
    rows: Sequence[Row],
    scores: Sequence[Sequence[float]],
    reference: Sequence[Sequence[float]] | None,
) -> dict[str, Stat]:
    lengths = None
    if "mask" in rows[0]:
        lengths = [[float(mask.sum()) for mask in row["mask"][:2]] for row in rows]
    base = None if reference is None else [pair[:2] for pair in reference]
    report = ranking_report(view_rows, [pair[:2] for pair in scores], base, lengths)
    return report if lengths else {k: v for k, v in report.items() if k not in OF_LENGTH}


def _likelihood(
    rows: Sequence[Row],
    scores: Sequence[Sequence[float]],
    reference: Sequence[Sequence[float]] | None,
    unit: str = "nats",
) -> dict[str, Stat]:
    """Numbers of points and lists: likelihood per token, and how well what is liked stands out."""
    clusters = [str(row["cluster"]) for row in rows]
    first = np.array([values[0] for values in scores])
    if unit == "reward":
        metrics = dict[str, Stat]()
    elif "mask" in rows[0]:
        length = np.array([max(1.0, float(row["mask"][0].sum())) for row in rows])
        metrics = {"log_prob_per_token": cluster_bootstrap(first / length, clusters)}
    else:
        metrics = {"error": cluster_bootstrap(-2 * first, clusters)}
    good = _labels(rows)
    if good is not None and reference is not None:
        gain = first - np.array([values[0] for values in reference])
        right = np.where(gain == 0, 0.5, (gain > 0) == good)
        metrics["accuracy"] = cluster_bootstrap(right.astype(float), clusters)
    if rows[0]["roles"][0] != "response":  # lists: the other items are rivals
        metrics["best_is_first"] = cluster_bootstrap(_best_first(scores, reference), clusters)
    return metrics


def _of_grids(rows: Sequence[Row], scores: Sequence[Sequence[float]]) -> dict[str, Stat]:
    lengths = [[float(mask.sum()) for mask in row["mask"]] for row in rows]
    clusters = [str(row["cluster"]) for row in rows]
    found = grid_measures(scores, lengths)
    return {name: cluster_bootstrap(values, clusters) for name, values in found.items()}


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
