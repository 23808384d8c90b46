"""Objectives whose rows depend on each other, exactly, on any layout of the batch.

All micro-batches of a step are scored without gradient; the loss and its derivative by every
score are taken once on the batch gathered over micro-batches and processes; then each
micro-batch is run again and its scores are multiplied by their derivatives. One more forward,
no approximation.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import pad

from prefine.errors import ObjectiveError
from prefine.protocols import Batch
from prefine.scores import Scores, Term
from prefine.training.terms import term_rows

if TYPE_CHECKING:
    from prefine.training.trainer import PreferenceTrainer


def coupled_gradients(trainer: "PreferenceTrainer", batches: Sequence[Batch]) -> None:
    """Put `coupled` into each micro-batch: {term: (d loss / d scores, loss, share of the loss)}."""
    for batch in batches:
        batch["coupled"] = {}
    with torch.no_grad(), trainer.compute_loss_context_manager():
        items = [trainer.scores(trainer.policy, batch) for batch in batches]
    for t, term in enumerate(trainer.terms):
        if not trainer.specs[t].coupled:
            continue
        scores = [
            term_rows(batch, term, *scored) for batch, scored in zip(batches, items, strict=True)
        ]
        gradients, value = _gradient(trainer, term, scores)
        for batch, gradient in zip(batches, gradients, strict=True):
            batch["coupled"][t] = (gradient, value, 1.0 / len(batches))


def _gradient(
    trainer: "PreferenceTrainer", term: Term, scores: Sequence[Scores]
) -> tuple[list[Tensor], Tensor]:
    width = max(part.policy.shape[1] for part in scores)
    width = int(trainer.accelerator.gather(torch.tensor([width], device=trainer.args.device)).max())  # type: ignore[union-attr]
    sizes = [len(part.policy) for part in scores]

    def whole(name: str, fill: float) -> Tensor | None:
        parts = [getattr(part, name) for part in scores]
        if any(part is None for part in parts):
            return None
        if parts[0].ndim == 2:
            parts = [pad(part, (0, width - part.shape[1]), value=fill) for part in parts]
        mine = trainer.accelerator.pad_across_processes(torch.cat(parts), pad_index=fill)  # type: ignore[arg-type]
        return trainer.accelerator.gather(mine.contiguous())  # type: ignore[return-value,union-attr]

    weight = whole("weight", 0.0)
    assert weight is not None
    present = weight > 0
    _refuse_unequal(term, weight[present])
    policy = whole("policy", 0.0)
    assert policy is not None
    leaf = policy.detach().clone().requires_grad_()
    batch = Scores(
        policy=leaf,
        length=whole("length", 0.0),  # type: ignore[arg-type]
        reference=whole("reference", 0.0),
        prob=whole("prob", float("nan")),
        label=whole("label", float("nan")),
    )
    with torch.enable_grad():
        loss = term.objective(batch.rows(present)).mean()
        (gradient,) = torch.autograd.grad(loss, leaf)
    start = trainer.args.process_index * (len(gradient) // trainer.args.world_size)
    mine = gradient[start : start + sum(sizes)].split(sizes)
    cut = [part[:, : s.policy.shape[1]] for part, s in zip(mine, scores, strict=True)]
    return cut, loss.detach()


def _refuse_unequal(term: Term, weight: Tensor) -> None:
    if len(weight) and bool((weight != weight[0]).any()):
        raise ObjectiveError(
            f"{term.name} compares the rows of a batch with each other, where a row's weight has "
            "no meaning, but the data weighs rows unequally. Remove the weights, or choose a "
            "row-wise objective."
        )
