"""Other links on DPO's margin: what a margin of log-ratios costs, if not the logistic loss."""

import math
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from prefine.objectives.declare import objective
from prefine.objectives.links import expected, gap, logistic, soft_label
from prefine.objectives.options import LabelNoise, Range, Strength
from prefine.objectives.pairwise import REFERENCE_AND_PROB
from prefine.scores import Scores


@objective(
    "pair",
    needs=REFERENCE_AND_PROB,
    formula="-q log sigma(u) - (1 - q) log sigma(-u), u = {beta} (h_w - h_l), "
    "q = (p - {label_noise}) / (1 - 2 * {label_noise})",
)
def robust_dpo(scores: Scores, *, beta: Strength = 0.1, label_noise: LabelNoise = 0.1) -> Tensor:
    r"""DPO on noisy labels, without bias: its mean over the flips is the loss on clean labels.

    With flip probability e and q = (p - e) / (1 - 2 e), where p is the row's soft label or 1,

    .. math:: \ell = -q\log\sigma(u) - (1-q)\log\sigma(-u), \quad u = \beta\,(h_w - h_l)

    For a hard label q is greater than 1: a single row has no lower bound, only the mean has.
    `dpo` with `label_noise` is the biased and bounded alternative (cDPO).

    Args:
        scores: Pairs with reference scores, nats; `prob` is read where present.
        beta: KL strength, reward per nat.
        label_noise: Probability e in [0, 0.5) that a label is flipped.

    Returns:
        [B] loss per pair, nats; may be negative.

    Raises:
        ObjectiveError: If there are no reference scores, or a row does not hold two responses.
        ConfigError: If an option is out of range.

    Curves:
        Starts at 0.693. It may fall below 0, which is no error: it is unbounded below on a
        single pair.

    Pitfalls:
        A rate above the true one rewards certainty without end; near one half the variance
        explodes. It wants the rate to be known: `robust_em` estimates it.

    Source:
        Ray Chowdhury et al. 2024, arXiv:2403.00409, eq. 12.

    Example:
        >>> pair = Scores(torch.tensor([[-1.0, -3.0]]), torch.ones(1, 2),
        ...               reference=torch.tensor([[-2.0, -2.0]]))
        >>> robust_dpo(pair, beta=0.5, label_noise=0.25)  # 1.5 (0.3133) - 0.5 (1.3133)
        tensor([-0.1867])
    """
    logit = beta * gap(scores.log_ratio)
    label = soft_label(scores)
    p = torch.ones_like(logit) if label is None else label
    q = (p - label_noise) / (1 - 2 * label_noise)
    return expected(logistic(logit), logistic(-logit), q)


@objective(
    "pair",
    needs=REFERENCE_AND_PROB,
    formula="p max(0, 1 - u) + (1 - p) max(0, 1 + u), u = {beta} (h_w - h_l)",
)
def hinge(scores: Scores, *, beta: Strength = 0.1) -> Tensor:
    r"""Hinge loss on the margin of implicit rewards: no gradient once it exceeds 1.

    .. math:: \ell = p\,[1 - u]_+ + (1-p)\,[1 + u]_+, \quad u = \beta\,(h_w - h_l)

    This is not SLiC-HF, which has no reference: see `slic_hf`.

    Args:
        scores: Pairs with reference scores, nats; `prob` is read where present.
        beta: KL strength, reward per nat.

    Returns:
        [B] loss per pair.

    Raises:
        ObjectiveError: If there are no reference scores, or a row does not hold two responses.
        ConfigError: If an option is out of range.

    Curves:
        Starts at 1. Rows beyond a margin of 1 / beta (10 nats at the default) cost nothing,
        so `grad_norm` falls as rows pass, and the loss may reach 0.

    Pitfalls:
        Once all rows pass, nothing is learnt any more. It is not SLiC-HF, which has no
        reference: that is `slic_hf`.

    Source:
        Liu et al. 2024, arXiv:2309.06657 (RSO), eq. 12.

    Example:
        >>> pair = Scores(torch.tensor([[-1.0, -3.0]]), torch.ones(1, 2),
        ...               reference=torch.tensor([[-2.0, -2.0]]))
        >>> hinge(pair, beta=0.25)  # 1 - 0.25 (2)
        tensor([0.5000])
    """
    logit = beta * gap(scores.log_ratio)
    return expected((1 - logit).relu(), (1 + logit).relu(), soft_label(scores))


@objective(
    "pair",
    needs=REFERENCE_AND_PROB,
    formula="p k(u) + (1 - p) k(-u), u = {beta} (h_w - h_l), k(u) = sigma(u) [log sigma(u) - "
    "log(1 - {smoothing})] + sigma(-u) [log sigma(-u) - log {smoothing}]",
)
def exo_preference(
    scores: Scores,
    *,
    beta: Strength = 0.1,
    smoothing: Annotated[float, Range(above=0, below=0.5, usual=(1e-4, 0.1))] = 1e-3,
) -> Tensor:
    r"""Reverse divergence between the policy's preference and a smoothed label.

    .. math:: k(u) = \sigma(u)\log\frac{\sigma(u)}{1-\epsilon}
        + \sigma(-u)\log\frac{\sigma(-u)}{\epsilon}, \quad u = \beta\,(h_w - h_l),
        \quad \ell = p\,k(u) + (1-p)\,k(-u)

    It is 0 where the policy prefers with probability 1 - epsilon, and bounded: a row that is wrong
    by far costs log(1/epsilon) and has almost no gradient.

    Args:
        scores: Pairs with reference scores, nats; `prob` is read where present.
        beta: KL strength, reward per nat.
        smoothing: Epsilon, what is left for the rejected response.

    Returns:
        [B] loss per pair, nats.

    Raises:
        ObjectiveError: If there are no reference scores, or a row does not hold two responses.
        ConfigError: If an option is out of range.

    Curves:
        Starts at 2.761 with the default smoothing, four times DPO's, and falls fast at
        first.

    Pitfalls:
        It seeks the mode: a wrong label that the policy believes is hardly corrected. The
        scale of the loss follows the logarithm of `smoothing`, and with it what gradient
        clipping does.

    Source:
        Ji et al. 2024, arXiv:2402.00856 (EXO), section 3.3; smoothing as in the authors' code.

    Example:
        >>> even = Scores(torch.zeros(1, 2), torch.ones(1, 2), reference=torch.zeros(1, 2))
        >>> exo_preference(even, smoothing=0.1)  # log(1/2) - (log 0.9 + log 0.1) / 2
        tensor([0.5108])
    """
    logit = beta * gap(scores.log_ratio)

    def divergence(u: Tensor) -> Tensor:
        first = F.logsigmoid(u) - math.log1p(-smoothing)
        second = F.logsigmoid(-u) - math.log(smoothing)
        return u.sigmoid() * first + (-u).sigmoid() * second

    return expected(divergence(logit), divergence(-logit), soft_label(scores))


@objective(
    "pair",
    needs=REFERENCE_AND_PROB,
    formula="p k(u) + (1 - p) k(-u), u = {beta} (h_w - h_l), "
    "k(u) = -(1 - s) log sigma(u) + s exp(-u), s = sigma(u / {temperature})",
)
def discopop(
    scores: Scores,
    *,
    beta: Strength = 0.05,
    temperature: Annotated[float, Range(above=0, at_most=1, usual=(0.02, 0.2))] = 0.05,
) -> Tensor:
    r"""A loss found by a language model: logistic where a row is wrong, exponential where right.

    .. math:: k(u) = -(1 - s)\log\sigma(u) + s\,e^{-u}, \quad s = \sigma(u/\tau),
        \quad u = \beta\,(h_w - h_l), \quad \ell = p\,k(u) + (1-p)\,k(-u)

    It is not convex: near u = 0 it has a hump.

    Args:
        scores: Pairs with reference scores, nats; `prob` is read where present.
        beta: KL strength, reward per nat.
        temperature: tau, the width of the passage from one loss to the other.

    Returns:
        [B] loss per pair.

    Raises:
        ObjectiveError: If there are no reference scores, or a row does not hold two responses.
        ConfigError: If an option is out of range.

    Curves:
        Starts at 0.847. `rewards/margins` may first fall: see the pitfall.

    Pitfalls:
        Not convex: with temperature 0.05 the loss falls towards negative margins from 0, to
        a local minimum at beta (h_w - h_l) = -0.118, behind a hump at 0.072. Rows that
        noise does not carry over it stay on the wrong side.

    Source:
        Lu et al. 2024, arXiv:2406.08414 (log-ratio modulated loss, LRML), section 4.

    Example:
        >>> even = Scores(torch.zeros(1, 2), torch.ones(1, 2), reference=torch.zeros(1, 2))
        >>> discopop(even)  # (log 2 + 1) / 2
        tensor([0.8466])
    """
    logit = beta * gap(scores.log_ratio)

    def modulated(u: Tensor) -> Tensor:
        # s exp(-u) in one exponent: the factors alone are 0 and infinity for u far below 0
        return (-u / temperature).sigmoid() * logistic(u) + (
            F.logsigmoid(u / temperature) - u
        ).exp()

    return expected(modulated(logit), modulated(-logit), soft_label(scores))
