"""Guards of a training step: what would make its numbers wrong stops the run, culprit named."""

import torch
from torch import Tensor, nn

from prefine.errors import NonFiniteError, ReferenceMismatch
from prefine.protocols import Batch
from prefine.scores import ItemScores, Scores
from prefine.training.reference import Reference


def check_step_zero(
    scores: Scores, reference: Reference, policy: nn.Module, *, low_precision: bool
) -> None:
    """Raise unless log-ratios are 0 where the reference is the policy that training starts from.

    Args:
        scores: Of the first micro-batch, before any step.
        reference: Says whether it claims to be the initial policy.
        policy: The model; checked in training alone.
        low_precision: Whether scores come from 16-bit arithmetic.

    Raises:
        ReferenceMismatch: If a log-ratio is further from 0 than rounding explains.
    """
    if scores.reference is None or not (reference.identity.is_initial_policy and policy.training):
        return
    gap = (scores.policy - scores.reference).detach().abs()
    if scores.valid is not None:
        gap = torch.where(scores.valid, gap, 0.0)
    low = low_precision or any(
        p.dtype in (torch.bfloat16, torch.float16) for p in policy.parameters()
    )
    share = 3e-2 if low else 1e-8 if scores.policy.dtype == torch.float64 else 1e-3
    allowed = share * (1 + scores.policy.detach().abs())
    if bool((gap > allowed).any()):
        raise ReferenceMismatch(
            f"step 0: the log-ratio of policy and reference is {float(gap.max()):.4g} nats "
            f"where it must be 0, so {reference.identity} is not the policy that training "
            "starts from, and the loss would be wrong. If another reference is meant, name it."
        )


def check_finite(loss: Tensor, policy: ItemScores, batch: Batch, step: int) -> None:
    """Raise `NonFiniteError` with the records of the batch unless its loss is finite."""
    if bool(torch.isfinite(loss)):
        return
    values = policy.value.detach()
    bad = (~torch.isfinite(values)).nonzero().flatten().tolist()
    low, high = float(values.nan_to_num().min()), float(values.nan_to_num().max())
    raise NonFiniteError(
        f"step {step}: the loss is {float(loss.detach()):g}. Records: "
        f"{', '.join(batch.get('records', [])[:8]) or 'unknown'}. Scores that are not finite: "
        f"{len(bad)} of {len(values)}; the others lie in [{low:.4g}, {high:.4g}]. Lower the "
        "learning rate, or look at these records."
    )
