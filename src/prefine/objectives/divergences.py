"""DPO under other divergences than the reverse KL."""

import math
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from prefine.errors import ConfigError
from prefine.objectives.declare import Options, objective
from prefine.objectives.links import expected, gap, logistic, soft_label
from prefine.objectives.options import Range, Strength
from prefine.objectives.pairwise import REFERENCE_AND_PROB
from prefine.scores import Needs, Scores

Divergence = Literal["reverse_kl", "forward_kl", "js", "alpha"]

STEEPEST = 40.0
"""Exponent beyond which an exponential goes on as its tangent: e^40 nats are out of any reach."""


def _needs(options: Options) -> Needs:
    if (options["alpha"] is not None) != (options["divergence"] == "alpha"):
        raise ConfigError(
            f'`alpha` belongs to `divergence="alpha"` and only to it, got '
            f"`divergence={options['divergence']!r}` and `alpha={options['alpha']!r}`."
        )
    return REFERENCE_AND_PROB


def _formula(options: Options) -> str:
    slope = {
        "reverse_kl": "h",
        "forward_kl": "-exp(-h)",
        "js": "log 2 + log sigma(h)",
        "alpha": "(1 - exp(-{alpha} h)) / {alpha}",
    }[options["divergence"]]
    return (
        f"-p log sigma(u) - (1 - p) log sigma(-u), u = {{beta}} (f(h_w) - f(h_l)), f(h) = {slope}"
    )


@objective("pair", needs=_needs, formula=_formula)
def f_dpo(
    scores: Scores,
    *,
    beta: Strength = 0.1,
    divergence: Divergence = "reverse_kl",
    alpha: Annotated[float, Range(above=0, below=1)] | None = None,
) -> Tensor:
    r"""DPO whose policy is held to the reference by an f-divergence of one's choice.

    .. math:: \ell = -p\log\sigma(u) - (1-p)\log\sigma(-u),
        \quad u = \beta\,\big(f'(e^{h_w}) - f'(e^{h_l})\big)

    with f'(e^h) = h for the reverse KL (which is `dpo`), -e^(-h) for the forward KL, log 2 + log
    sigma(h) for Jensen-Shannon, and (1 - e^(-alpha h)) / alpha for the alpha-divergence, which goes
    over into the reverse KL for alpha to 0 and into the forward KL for alpha to 1.

    An exponential is continued as its tangent beyond e^40, so that a row that is far off has a
    finite loss and a gradient.

    Args:
        scores: Pairs with reference scores, nats; `prob` is read where present.
        beta: Strength of the divergence.
        divergence: `reverse_kl`, `forward_kl`, `js` or `alpha`.
        alpha: In (0, 1), only and always with `divergence="alpha"`; the paper's alpha. TRL's
            `f_alpha_divergence_coef` is 1 - alpha.

    Returns:
        [B] loss per pair, nats.

    Raises:
        ObjectiveError: If there are no reference scores, or a row does not hold two responses.
        ConfigError: If an option is out of range, or `alpha` does not fit the divergence.

    Curves:
        Starts at 0.693 for every divergence. With `js` a chosen response soon gains nothing more,
        and margins grow by what the rejected one loses.

    Pitfalls:
        With `forward_kl` or `alpha` a response that becomes unlikely has an exponentially
        large reward: gradients explode where a log-ratio falls far. Beta means another
        strength for each divergence.

    Source:
        Wang et al. 2023, arXiv:2309.16240, table 1 and eq. 9.

    Example:
        >>> pair = Scores(torch.tensor([[-1.0, -3.0]]), torch.ones(1, 2),
        ...               reference=torch.tensor([[-2.0, -2.0]]))
        >>> f_dpo(pair, beta=0.5, divergence="forward_kl")  # 0.5 (e - 1/e) = 1.1752
        tensor([0.2691])
    """
    slopes = _slopes(scores.log_ratio, divergence, alpha)
    logit = beta * gap(slopes)
    return expected(logistic(logit), logistic(-logit), soft_label(scores))


def _slopes(ratio: Tensor, divergence: Divergence, alpha: float | None) -> Tensor:
    """Return f'(e^h) up to a constant."""
    if divergence == "forward_kl":
        return -_exp(-ratio)
    if divergence == "js":
        return F.logsigmoid(ratio)
    if alpha is not None:
        return (1 - _exp(-alpha * ratio)) / alpha
    return ratio


def _exp(x: Tensor) -> Tensor:
    """The exponential, and its tangent beyond `STEEPEST`."""
    inside = x.clamp(max=STEEPEST).exp()
    return torch.where(x > STEEPEST, math.exp(STEEPEST) * (1 + x - STEEPEST), inside)
