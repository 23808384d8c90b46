"""What stateful objectives see of a step before its losses."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from prefine.errors import ObjectiveError
from prefine.objectives.declare import Stateful
from prefine.protocols import Batch
from prefine.scores import ItemScores
from prefine.training.metrics import add_sums
from prefine.training.reference import evaluating
from prefine.training.terms import term_rows

if TYPE_CHECKING:
    from prefine.training.trainer import PreferenceTrainer


def observe_before(trainer: "PreferenceTrainer", batches: Sequence[Batch]) -> None:
    """Update the "before" states from all parts of a step and all processes; all take part.

    Raises:
        ObjectiveError: If a state reads scores, which nothing has yet, or there is no reference
            for mismatched responses.
    """
    for term in trainer.terms:
        loss = term.objective
        if not (isinstance(loss, Stateful) and loss.when == "before"):
            continue
        sums: dict[str, Tensor] = {}
        with (
            torch.no_grad(),
            evaluating(trainer.policy),
            trainer.compute_loss_context_manager(),
        ):
            for batch in batches:
                _add_mismatched(trainer, batch)
                items = _unscored(trainer, batch)
                add_sums(sums, loss.observe(term_rows(batch, term, items, items)))
        if any(bool(value.isnan()) for value in sums.values()):
            raise ObjectiveError(
                f"{term.name} observes scores before the step's losses, when nothing has been "
                'scored yet. Read columns alone, or say when = "after".'
            )
        loss.update({name: trainer._all_reduce(value) for name, value in sums.items()})


def _add_mismatched(trainer: "PreferenceTrainer", batch: Batch) -> None:
    """Put `mismatched_log_ratio` [B] beside the rows; NaN where a row has none."""
    part = batch.get("mismatched")
    if part is None or "mismatched_log_ratio" in batch["rows"]:
        return
    policy, reference = trainer.scores(trainer.policy, part)
    if reference is None:
        raise ObjectiveError("The baseline over mismatched responses needs a reference.")
    at = part["roles"]["mismatched"]
    ratio = (policy.value - reference.value)[at.clamp(min=0)]
    keep = (at >= 0) & ~batch["rows"]["absent"]
    batch["rows"]["mismatched_log_ratio"] = torch.where(keep, ratio, float("nan"))


def _unscored(trainer: "PreferenceTrainer", batch: Batch) -> ItemScores:
    """Not a number in place of every score, so that a statistic that reads one shows."""
    count = len(batch["units"])
    unknown = torch.full((count,), torch.nan, dtype=torch.float64, device=trainer.args.device)
    return ItemScores(unknown, torch.ones_like(unknown))
