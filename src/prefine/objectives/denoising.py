"""Losses that were made for denoising models."""

from typing import Annotated, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from prefine.objectives.declare import objective
from prefine.objectives.links import gap, logistic
from prefine.objectives.options import NonNegative, Positive, Range
from prefine.scores import Needs, Scores

SERIES = 1e-4
"""Below it z / (exp(z) - 1) is taken from its series, whose next term is z^2 / 12."""


@objective(
    "pair",
    needs=Needs(elements=frozenset({"error"})),
    formula="e_w - {beta} log sigma({temperature} (psi(e_w) - psi(e_l))), "
    "psi(e) = z / (exp(z) - 1), z = {steepness} e, e = squared error",
)
def mapo(
    scores: Scores,
    *,
    beta: Annotated[float, Range(above=0, usual=(0.01, 1.0))] = 0.1,
    steepness: Positive = 0.5,
    temperature: Annotated[float, Range(above=0, usual=(1.0, 1000.0))] = 1000.0,
) -> Tensor:
    r"""Imitate the winner's denoising and keep its bounded likelihood above the loser's (MaPO).

    With e the squared error of a denoising step, which needs no reference,

    .. math:: \ell = e_w - \beta\log\sigma\big(T\,[\psi(e_w) - \psi(e_l)]\big),
        \quad \psi(e) = \frac{k e}{e^{k e} - 1}

    :math:`\psi` falls from 1 to 0 as the error grows, so that no error can run away to win.

    Args:
        scores: Pairs with the element `error` [B, 2, D], averaged over its draws D.
        beta: Weight of the margin beside imitation.
        steepness: k.
        temperature: T. The paper's is the number of its time steps; errors of few dimensions, which
            are near 1, want 1 to 10.

    Returns:
        [B] loss per pair.

    Raises:
        ObjectiveError: If the adapter gives no errors, or a row does not hold two responses.
        ConfigError: If an option is out of range.

    Curves:
        Starts at the base model's error of the winner plus 0.07, and falls slowly: the error
        is most of it.

    Pitfalls:
        Without a reference nothing but the rate holds the model. The scale of the loss is that
        of the error: look at both parts.

    Source:
        Hong et al. 2024, arXiv:2406.06424, and its code.

    Example:
        >>> error = torch.tensor([[[0.0], [2.0]]])
        >>> pair = Scores(torch.zeros(1, 2), torch.ones(1, 2),
        ...               elements={"error": error, "mask": torch.ones_like(error).bool()})
        >>> mapo(pair, beta=1.0, temperature=1.0)  # log(1 + exp(psi(2) - 1)), psi(2) = 0.582
        tensor([0.5058])
    """
    mask = scores.elements["mask"]
    error = (scores.elements["error"] * mask).sum(-1) / mask.sum(-1).clamp(min=1)
    margin = temperature * gap(_bounded(steepness * error))
    return error[:, 0] + beta * logistic(margin)


def _bounded(z: Tensor) -> Tensor:
    """Return z / (exp(z) - 1), with its limit 1 at 0."""
    near = z.abs() < SERIES
    safe = torch.where(near, 1.0, z)
    return torch.where(near, 1 - z / 2, safe / torch.expm1(safe))


@objective(
    "point",
    needs=Needs(reference=True, fields=frozenset({"label"}), required=frozenset({"label"})),
    coupled=True,
    formula="desirable: {desirable_weight} [1 - U({beta} (h - z))]; "
    "undesirable: {undesirable_weight} [1 - U({beta} (z - h))], "
    "U = {utility}, z = max(0, mean h of the step's rows)",
)
def diffusion_kto(
    scores: Scores,
    *,
    beta: Annotated[float, Range(above=0, usual=(1.0, 5000.0))] = 2000.0,
    desirable_weight: NonNegative = 1.0,
    undesirable_weight: NonNegative = 1.0,
    utility: Literal["sigmoid", "loss_averse", "risk_seeking"] = "sigmoid",
) -> Tensor:
    r"""KTO whose baseline is the step's own mean log-ratio (Diffusion-KTO).

    With s = 1 for a desirable row and -1 for another,

    .. math:: \ell = \lambda\,\big[1 - U(s\,\beta\,(h - z))\big],
        \quad z = \max\Big(0, \frac1B\sum_b h_b\Big)

    over all rows of the optimizer step; z has no gradient. No pairs and no mismatched prompts are
    needed, at the price of a baseline that desirable rows pull upwards (see `kto`).

    Args:
        scores: Points with labels and reference scores.
        beta: Strength. Scores are halves of squared errors, so the paper's 1000 is 2000 here.
        desirable_weight: lambda of desirable rows.
        undesirable_weight: lambda of the others.
        utility: U: the sigmoid; `loss_averse`, its logarithm plus one; `risk_seeking`, the
            exponential, held at 1 where gains are above 0.

    Returns:
        [B] loss per row.

    Raises:
        ObjectiveError: If there are no labels or reference scores.
        ConfigError: If an option is out of range.

    Curves:
        Starts at 0.5 with the sigmoid. `rewards/chosen` rises, `rewards/rejected` falls.

    Pitfalls:
        The baseline depends on the step's other rows: small steps make it noisy. With beta far
        too large the sigmoid is flat at both ends, and nothing moves.

    Source:
        Li et al. 2024, arXiv:2404.04465, and its code (scores doubled there).

    Example:
        >>> points = Scores(torch.tensor([[2.0], [-1.0]]), torch.ones(2, 1),
        ...                 reference=torch.zeros(2, 1), label=torch.tensor([[1.0], [0.0]]))
        >>> diffusion_kto(points, beta=1.0)  # z = 0.5: 1 - sigma(1.5) twice
        tensor([0.1824, 0.1824])
    """
    ratio, good = scores.log_ratio[:, 0], cast(Tensor, scores.label)[:, 0].bool()
    counts = torch.ones_like(ratio) if scores.weight is None else (scores.weight > 0).to(ratio)
    held = torch.where(counts > 0, ratio.detach(), 0.0)
    baseline = (held.sum() / counts.sum().clamp(min=1)).clamp(min=0)
    gain = beta * torch.where(good, ratio - baseline, baseline - ratio)
    weight = torch.where(good, desirable_weight, undesirable_weight)
    if utility == "sigmoid":
        return weight * torch.sigmoid(-gain)
    if utility == "loss_averse":
        return -weight * F.logsigmoid(gain)
    return weight * (1 - gain.clamp(max=0).exp())
