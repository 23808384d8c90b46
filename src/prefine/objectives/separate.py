"""Pair losses that judge each response by itself, against 0 instead of against the other."""

from typing import Annotated

import torch
from torch import Tensor

from prefine.objectives.declare import Options, objective
from prefine.objectives.links import gap, logistic, soft_label
from prefine.objectives.options import Range, Strength
from prefine.objectives.pairwise import REFERENCE_AND_PROB
from prefine.scores import Needs, Scores

REFERENCE = Needs(reference=True)


@objective("pair", needs=REFERENCE, formula="1 - sigma({beta} h_w) + sigma({beta} h_l)")
def apo_zero(scores: Scores, *, beta: Strength = 0.1) -> Tensor:
    r"""Makes chosen more and rejected less likely: for responses better than the policy's.

    .. math:: \ell = 1 - \sigma(\beta h_w) + \sigma(\beta h_l)

    Args:
        scores: Pairs with reference scores, nats.
        beta: KL strength, reward per nat.

    Returns:
        [B] loss per pair, between 0 and 2.

    Raises:
        ObjectiveError: If there are no reference scores, or a row does not hold two responses.
        ConfigError: If an option is out of range.

    Curves:
        Starts at 1. `rewards/chosen` rises above 0 and `rewards/rejected` falls below.

    Pitfalls:
        On responses worse than the policy's own it teaches them: then `apo_down` is meant.
        Rows far out on the sigmoid (rewards beyond about 5) have next to no gradient.

    Source:
        D'Oosterlinck et al. 2024, arXiv:2408.06266, section 3.

    Example:
        >>> even = Scores(torch.zeros(1, 2), torch.ones(1, 2), reference=torch.zeros(1, 2))
        >>> apo_zero(even)
        tensor([1.])
    """
    reward = beta * scores.log_ratio
    return (-reward[:, 0]).sigmoid() + reward[:, 1].sigmoid()


@objective("pair", needs=REFERENCE, formula="sigma({beta} h_w) + 1 - sigma({beta} (h_w - h_l))")
def apo_down(scores: Scores, *, beta: Strength = 0.1) -> Tensor:
    r"""Makes both less likely, the rejected one more so: for a policy better than the chosen.

    .. math:: \ell = \sigma(\beta h_w) + 1 - \sigma(\beta (h_w - h_l))

    Args:
        scores: Pairs with reference scores, nats.
        beta: KL strength, reward per nat.

    Returns:
        [B] loss per pair, between 0 and 2.

    Raises:
        ObjectiveError: If there are no reference scores, or a row does not hold two responses.
        ConfigError: If an option is out of range.

    Curves:
        Starts at 1. `rewards/chosen` and `rewards/rejected` both fall, the rejected one
        further, so that `rewards/margins` rises.

    Pitfalls:
        On responses better than the policy's own it unlearns them: then `apo_zero` is
        meant. Rows far out on the sigmoid (rewards beyond about 5) have next to no
        gradient.

    Source:
        D'Oosterlinck et al. 2024, arXiv:2408.06266, section 3.

    Example:
        >>> pair = Scores(torch.tensor([[-2.0, -4.0]]), torch.ones(1, 2),
        ...               reference=torch.tensor([[-2.0, -2.0]]))
        >>> apo_down(pair, beta=0.5)  # 0.5 + sigma(-1)
        tensor([0.7689])
    """
    reward = beta * scores.log_ratio
    return reward[:, 0].sigmoid() + (-gap(reward)).sigmoid()


@objective(
    "pair",
    needs=REFERENCE,
    formula="-log sigma(r_w) - 1/2 log sigma(-r_w) - 1/2 log sigma(-r_l), r = {beta} h",
)
def nca(scores: Scores, *, beta: Strength = 0.1) -> Tensor:
    r"""Noise-contrastive alignment of a pair: absolute rewards, so the chosen cannot fall far.

    .. math:: \ell = -\log\sigma(\beta h_w) - \tfrac12\log\sigma(-\beta h_w)
        - \tfrac12\log\sigma(-\beta h_l)

    `listwise_nca` takes any number of responses with graded rewards.

    Args:
        scores: Pairs with reference scores, nats.
        beta: KL strength, reward per nat.

    Returns:
        [B] loss per pair, nats.

    Raises:
        ObjectiveError: If there are no reference scores, or a row does not hold two responses.
        ConfigError: If an option is out of range.

    Curves:
        Starts at 1.386. `rewards/chosen` rises where `dpo` would let it fall;
        `rewards/margins` grows more slowly.

    Pitfalls:
        It wants absolute rewards, so a reference that is far off (another tokenizer's,
        another template's) hurts more than in `dpo`. Margins alone are not what it
        optimises.

    Source:
        Chen et al. 2024, arXiv:2402.05369, section 4.2.

    Example:
        >>> even = Scores(torch.zeros(1, 2), torch.ones(1, 2), reference=torch.zeros(1, 2))
        >>> nca(even)  # 2 log 2
        tensor([1.3863])
    """
    reward = beta * scores.log_ratio
    return logistic(reward[:, 0]) + (logistic(-reward[:, 0]) + logistic(-reward[:, 1])) / 2


def _sppo_needs(options: Options) -> Needs:
    if options["graded"]:
        graded = frozenset({"utility"})
        return Needs(reference=True, fields=graded, required=graded)
    return REFERENCE_AND_PROB


def _sppo_formula(options: Options) -> str:
    wins = "P = utility" if options["graded"] else "P_w = p, P_l = 1 - p"
    return f"1/2 sum over both of (h - (P - 1/2) / {{beta}})^2, {wins}"


@objective("pair", needs=_sppo_needs, formula=_sppo_formula)
def sppo(
    scores: Scores,
    *,
    beta: Annotated[float, Range(above=0, usual=(1e-4, 1e-2))] = 1e-3,
    graded: bool = False,
) -> Tensor:
    r"""Self-play: each log-ratio goes to how much more often than not its response wins.

    .. math:: \ell = \tfrac12 \sum_{y \in \{w, l\}}
        \Big(h_y - \frac{P_y - 1/2}{\beta}\Big)^2

    Args:
        scores: Pairs with reference scores, nats. `prob` is read where present, or with `graded`
            the `utility` of both responses.
        beta: 1 / eta of the paper; with the default a sure winner is to gain 500 nats.
        graded: Take the win probabilities P from `utility`: how often each response beats the
            policy's samples. Otherwise they are the row's soft label p and 1 - p.

    Returns:
        [B] loss per pair, nats squared.

    Raises:
        ObjectiveError: If there are no reference scores, a row does not hold two responses, or
            `graded` is asked for and there is no utility.
        ConfigError: If an option is out of range.

    Curves:
        Starts at 250000 with the default beta, (1 / (2 beta))^2, and falls by a tiny share:
        watch `rewards/chosen` rise and `rewards/rejected` fall.

    Pitfalls:
        The scale of loss and gradient makes clipping the true learning rate. Hard labels
        stand for win rates of 1 and 0: where several samples were compared, pass the win
        rates (`graded`).

    Source:
        Wu et al. 2024, arXiv:2405.00675, eq. 4.6 and the authors' code. TRL's `sppo_hard` is twice
        this loss, with hard labels.

    Example:
        >>> even = Scores(torch.zeros(1, 2), torch.ones(1, 2), reference=torch.zeros(1, 2))
        >>> sppo(even, beta=0.5)  # (1 + 1) / 2
        tensor([1.])
    """
    if graded and scores.utility is not None:
        wins = scores.utility
    else:
        label = soft_label(scores)
        first = torch.ones_like(scores.policy[:, 0]) if label is None else label
        wins = torch.stack([first, 1 - first], 1)
    return (scores.log_ratio - (wins - 0.5) / beta).square().sum(1) / 2
