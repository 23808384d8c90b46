"""Guards of a training step: what would make its numbers wrong stops the run, culprit named."""

import math
from collections.abc import Sequence

import torch
from torch import nn

from prefine.errors import NonFiniteError, ReferenceMismatch
from prefine.scores import Scores
from prefine.training.reference import Reference


def check_step_zero(
    scores: Scores,
    reference: Reference,
    policy: nn.Module,
    *,
    low_precision: bool,
    scale: float = 1.0,
) -> None:
    """Raise unless log-ratios are 0 where the reference is the policy that training starts from.

    Args:
        scores: Of the first micro-batch, before any step.
        reference: Says whether it claims to be the initial policy.
        policy: The model; checked in training alone.
        low_precision: Whether scores come from 16-bit arithmetic.
        scale: What is a small score of this unit: 1 nat, or 0 for errors, which may be any size.

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
    allowed = share * (scale + scores.policy.detach().abs())
    if bool((gap > allowed).any()):
        raise ReferenceMismatch(
            f"step 0: the log-ratio of policy and reference is {float(gap.max()):.4g} "
            f"where it must be 0, so {reference.identity} is not the policy that training "
            "starts from, and the loss would be wrong. If another reference is meant, name it."
        )


def refuse_infinite_loss(found: Sequence[float], *, records: Sequence[str], step: int) -> None:
    """Raise `NonFiniteError` with the records of a batch unless its loss is finite.

    Args:
        found: The loss, then the scores of the batch's items.
        records: Ids of the batch's records.
        step: Optimizer steps before it.
    """
    loss, *values = found
    if math.isfinite(loss):
        return
    finite = [value for value in values if math.isfinite(value)]
    others = f"; the others lie in [{min(finite):.4g}, {max(finite):.4g}]" if finite else ""
    raise NonFiniteError(
        f"step {step}: the loss is {loss:g}. Records: {', '.join(records[:8]) or 'unknown'}. "
        f"Scores that are not finite: {len(values) - len(finite)} of {len(values)}{others}. Lower "
        "the learning rate, or look at these records."
    )


def refuse_infinite_gradient(found: Sequence[float], *, step: int) -> None:
    """Raise `NonFiniteError` unless the gradient's norm is finite."""
    if not math.isfinite(found[0]):
        raise NonFiniteError(
            f"step {step}: the gradient's norm is {found[0]:g}. Lower the learning rate, or train "
            "in float32."
        )
