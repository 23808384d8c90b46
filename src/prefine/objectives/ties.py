"""A pair that was judged equal: models of choice in which a tie is an outcome of its own."""

import math
from typing import Annotated, Literal

import torch
from torch import Tensor

from prefine.errors import ConfigError
from prefine.objectives.declare import Options, objective
from prefine.objectives.links import gap, logistic
from prefine.objectives.options import Range, Strength
from prefine.scores import Needs, Scores

Model = Literal["rao_kupper", "davidson"]


def rao_kupper(logit: Tensor, width: float) -> tuple[Tensor, Tensor]:
    r"""Return [B] -log P(first wins) and -log P(tie): a side must lead by `width` to win.

    .. math:: P(w) = \sigma(u - \delta), \quad P(tie) = 1 - \sigma(u - \delta) - \sigma(-u - \delta)

    Args:
        logit: [B] u, the first side's lead.
        width: delta > 0, in units of the logit.

    Example:
        >>> win, tie = rao_kupper(torch.zeros(1), width=1.0)
        >>> win.neg().exp(), tie.neg().exp()  # sigma(-1), 1 - 2 sigma(-1)
        (tensor([0.2689]), tensor([0.4621]))
    """
    # sigma(w - u) - sigma(-w - u) = sigma(w - u) sigma(w + u) (1 - exp(-2 w)): no cancellation
    both = logistic(width - logit) + logistic(width + logit)
    return logistic(logit - width), both - math.log(-math.expm1(-2 * width))


def davidson(logit: Tensor, odds: float) -> tuple[Tensor, Tensor]:
    r"""Return [B] -log P(first wins) and -log P(tie): ties are likely between equals.

    .. math:: P(w) : P(l) : P(tie) = e^{u/2} : e^{-u/2} : 2\nu

    Args:
        logit: [B] u, the first side's lead.
        odds: nu > 0; between equals a tie is nu times as likely as a decision.

    Example:
        >>> win, tie = davidson(torch.zeros(1), odds=1.0)
        >>> win.neg().exp(), tie.neg().exp()
        (tensor([0.2500]), tensor([0.5000]))
    """
    evenly = math.log(2 * odds) - logit / 2
    total = torch.stack([torch.zeros_like(logit), -logit, evenly]).logsumexp(0)
    return total, total - evenly


USUAL_ODDS = {"rao_kupper": 3.0, "davidson": 1.0}
"""The paper's."""


def _needs(options: Options) -> Needs:
    odds = options["odds"]
    if options["model"] == "rao_kupper" and odds is not None and odds <= 1:
        raise ConfigError(
            f'`odds` must be above 1 with `model="rao_kupper"`, got {odds}: no tie could happen.'
        )
    return Needs(reference=True, fields=frozenset({"tie"}))


def _formula(options: Options) -> str:
    odds = options["odds"] or USUAL_ODDS[options["model"]]
    if options["model"] == "rao_kupper":
        win = "a win: -log sigma(u - log {odds})"
        tie = "a tie: -log(1 - sigma(u - log {odds}) - sigma(-u - log {odds}))"
    else:
        win = "a win: -log(e^(u/2) / S)"
        tie = "a tie: -log(2 * {odds} / S), S = e^(u/2) + e^(-u/2) + 2 * {odds}"
    return f"{win}; {tie}; u = {{beta}} (h_w - h_l)".replace("{odds}", f"{odds:g}")


@objective(
    "pair",
    needs=_needs,
    formula=_formula,
)
def dpo_ties(
    scores: Scores,
    *,
    beta: Strength = 0.1,
    model: Model = "rao_kupper",
    odds: Annotated[float, Range(above=0, usual=(0.5, 5.0))] | None = None,
) -> Tensor:
    r"""DPO that learns from ties: they hold two responses together instead of being dropped.

    With :math:`u = \beta\,(h_w - h_l)` and nu the `odds`,

    .. math:: \text{Rao-Kupper: } P(w) = \sigma(u - \log\nu), \quad
        P(tie) = 1 - \sigma(u - \log\nu) - \sigma(-u - \log\nu)

    .. math:: \text{Davidson: } P(w) : P(l) : P(tie) = e^{u/2} : e^{-u/2} : 2\nu

    and the loss is -log of the probability of what was judged.

    Args:
        scores: Pairs with reference scores, nats; `tie` marks rows that were judged equal.
        beta: KL strength, reward per nat.
        model: `rao_kupper` (a side must lead by log nu to win) or `davidson`.
        odds: nu; None takes the paper's, 3 for Rao-Kupper and 1 for Davidson. Between equals a tie
            has probability (nu - 1) / (nu + 1) by Rao-Kupper and nu / (nu + 1) by Davidson.

    Returns:
        [B] loss per pair, nats.

    Raises:
        ObjectiveError: If there are no reference scores, or a row does not hold two responses.
        ConfigError: If an option is out of range.

    Curves:
        Starts between 0.693, all rows tied, and 1.386, none (Rao-Kupper, odds 3). Decided
        pairs part, tied ones stay together, so the mean of `rewards/margins` rises slowly.

    Pitfalls:
        Ties that mean "both are bad" or "did not look" hold together what should part. The
        odds are those of the raters, not of the policy: a wrong value moves every margin.

    Source:
        Chen et al. 2024, arXiv:2409.17431, eq. 7 to 10; Rao & Kupper 1967; Davidson 1970.

    Example:
        >>> pairs = Scores(torch.zeros(2, 2), torch.ones(2, 2), reference=torch.zeros(2, 2),
        ...                tie=torch.tensor([False, True]))
        >>> dpo_ties(pairs).neg().exp()  # 1/4, 1 - 2/4
        tensor([0.2500, 0.5000])
    """
    logit, odds = beta * gap(scores.log_ratio), odds or USUAL_ODDS[model]
    if model == "rao_kupper":
        win, tie = rao_kupper(logit, math.log(odds))
    else:
        win, tie = davidson(logit, odds)
    return win if scores.tie is None else torch.where(scores.tie, tie, win)
