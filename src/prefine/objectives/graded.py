"""Losses on a list of responses with graded rewards: one distribution over them against another."""

from typing import Annotated, cast

import torch
from torch import Tensor

from prefine.objectives.declare import objective
from prefine.objectives.links import logistic, present
from prefine.objectives.options import Range, Strength
from prefine.scores import Needs, Scores

GRADED = Needs(reference=True, fields=frozenset({"utility"}), required=frozenset({"utility"}))
Temperature = Annotated[float, Range(above=0, usual=(1e-3, 2.0))]
"""Temperature of utilities, in their unit."""


@objective(
    "list",
    needs=GRADED,
    formula="-sum over k of q_k log softmax_k({beta} h), q = softmax(utility / {temperature})",
)
def info_nca(scores: Scores, *, beta: Strength = 0.1, temperature: Temperature = 1e-3) -> Tensor:
    r"""Cross-entropy between graded rewards and the policy's implicit ones, over a list.

    .. math:: \ell = -\sum_k q_k \log\frac{e^{\beta h_k}}{\sum_j e^{\beta h_j}},
        \quad q = \mathrm{softmax}(s / T)

    For two responses and a low temperature it is `dpo`. Only differences count, so all
    log-ratios may fall together; `listwise_nca` holds them.

    Args:
        scores: Lists with `utility` (the rewards s) and reference scores, nats. Absent responses
            (`valid`) take no part.
        beta: KL strength, reward per nat.
        temperature: T. The paper's alpha is 1 / T.

    Returns:
        [B] loss per list, nats.

    Raises:
        ObjectiveError: If there are no reference scores or utilities.
        ConfigError: If an option is out of range.

    Curves:
        Starts at the logarithm of the length of the list: 1.386 for four.

    Pitfalls:
        `temperature` is in the unit of the utilities: at 0.001 only the best response of a
        list counts, and stars from 1 to 5 want 0.1 to 2. Only differences count, so all
        log-ratios may fall together; `listwise_nca` holds them.

    Source:
        Chen et al. 2024, arXiv:2402.05369, eq. 7.

    Example:
        >>> graded = Scores(torch.tensor([[2.0, 1.0, 0.0]]), torch.ones(1, 3),
        ...                 reference=torch.zeros(1, 3), utility=torch.tensor([[3.0, 2.0, 1.0]]))
        >>> info_nca(graded, beta=1.0)  # the best one's: log(1 + 1/e + 1/e^2)
        tensor([0.4076])
    """
    q = _shares(cast(Tensor, scores.utility) / temperature, scores)
    log_shares = _log_shares(beta * scores.log_ratio, scores)
    return -(q * log_shares).sum(1)


@objective(
    "list",
    needs=GRADED,
    formula="-sum over k of [q_k log sigma({beta} h_k) + 1/K log sigma(-{beta} h_k)], "
    "q = softmax(utility / {temperature})",
)
def listwise_nca(
    scores: Scores, *, beta: Strength = 0.1, temperature: Temperature = 1e-3
) -> Tensor:
    r"""Noise-contrastive alignment of a list: as `info_nca`, with absolute rewards.

    .. math:: \ell = -\sum_k \Big[q_k\log\sigma(\beta h_k)
        + \tfrac1K\log\sigma(-\beta h_k)\Big], \quad q = \mathrm{softmax}(s / T)

    Args:
        scores: Lists with `utility` (the rewards s) and reference scores, nats. Absent responses
            (`valid`) take no part, and K counts those present.
        beta: KL strength, reward per nat.
        temperature: T. The paper's alpha is 1 / T.

    Returns:
        [B] loss per list, nats.

    Raises:
        ObjectiveError: If there are no reference scores or utilities.
        ConfigError: If an option is out of range.

    Curves:
        Starts at 1.386, for a list of any length. The best response's reward stays above 0,
        the others' fall below.

    Pitfalls:
        `temperature` is in the unit of the utilities, as for `info_nca`. With many
        responses the pull towards 0 is shared out thinly: watch `log_ratio/chosen`.

    Source:
        Chen et al. 2024, arXiv:2402.05369, eq. 11.

    Example:
        >>> even = Scores(torch.zeros(1, 4), torch.ones(1, 4), reference=torch.zeros(1, 4),
        ...               utility=torch.tensor([[4.0, 3.0, 2.0, 1.0]]))
        >>> listwise_nca(even)  # 2 log 2
        tensor([1.3863])
    """
    q = _shares(cast(Tensor, scores.utility) / temperature, scores)
    reward, valid = beta * scores.log_ratio, present(scores)
    count = valid.sum(1, keepdim=True).clamp(min=1)
    loss = q * logistic(reward) + logistic(-reward) / count
    return torch.where(valid, loss, 0.0).sum(1)


@objective(
    "list",
    needs=GRADED,
    formula="sum over k of p_k [log p_k - log q_k], p = softmax({beta} h), "
    "q = softmax(utility / {temperature})",
)
def exo_reward(
    scores: Scores,
    *,
    beta: Strength = 0.1,
    temperature: Annotated[float, Range(above=0, usual=(0.1, 2.0))] = 1.0,
) -> Tensor:
    r"""Reverse divergence between the policy's implicit rewards and graded ones, over a list.

    .. math:: \ell = \sum_k p_k\,(\log p_k - \log q_k), \quad
        p = \mathrm{softmax}(\beta h), \quad q = \mathrm{softmax}(s / \beta_r)

    It seeks the best mode, where `info_nca`, which turns the divergence around, covers all.

    Args:
        scores: Lists with `utility` (the rewards s) and reference scores, nats. Absent responses
            (`valid`) take no part.
        beta: KL strength, reward per nat.
        temperature: beta_r, in units of the rewards.

    Returns:
        [B] loss per list, nats; 0 where both agree.

    Raises:
        ObjectiveError: If there are no reference scores or utilities.
        ConfigError: If an option is out of range.

    Curves:
        Starts at the divergence of an even distribution from softmax(utility /
        temperature): larger for sharper rewards.

    Pitfalls:
        `temperature` is in the unit of the utilities: ranks, stars and reward models differ
        by orders of magnitude. It seeks the mode: the policy may keep one good response and
        drop the others.

    Source:
        Ji et al. 2024, arXiv:2402.00856 (EXO), eq. 13.

    Example:
        >>> agreed = Scores(torch.tensor([[2.0, 1.0]]), torch.ones(1, 2),
        ...                 reference=torch.zeros(1, 2), utility=torch.tensor([[5.0, 4.0]]))
        >>> exo_reward(agreed, beta=1.0)
        tensor([0.])
    """
    log_p = _log_shares(beta * scores.log_ratio, scores)
    log_q = _log_shares(cast(Tensor, scores.utility) / temperature, scores)
    return (log_p.exp() * (log_p - log_q)).sum(1)


def _log_shares(logits: Tensor, scores: Scores) -> Tensor:
    """Return [B, K] log-softmax over the responses that are present; 0 where one is absent."""
    valid = present(scores)
    lowest = torch.finfo(logits.dtype).min / 4  # finite, so that gradients stay finite
    log_shares = torch.where(valid, logits, lowest).log_softmax(1)
    return torch.where(valid, log_shares, 0.0)


def _shares(logits: Tensor, scores: Scores) -> Tensor:
    """Return [B, K] softmax over the responses that are present; 0 where one is absent."""
    return torch.where(present(scores), _log_shares(logits, scores).exp(), 0.0)
