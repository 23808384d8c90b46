"""Pair losses that look inside a response: token by token, or at whole distributions."""

from typing import Annotated

import torch
from torch import Tensor

from prefine.objectives.declare import objective
from prefine.objectives.links import gap, logistic
from prefine.objectives.options import NonNegative, Range, Strength
from prefine.scores import Needs, Scores

DIVERGENCE = Needs(reference=True, elements=frozenset({"kl_reference"}))


@objective(
    "pair",
    needs=DIVERGENCE,
    formula="-log sigma({beta} (h_w - h_l - (D_l - D_w))), D = sum over tokens of KL(ref || pi)",
)
def tdpo1(scores: Scores, *, beta: Strength = 0.1) -> Tensor:
    r"""Token-level DPO: the margin also counts how far each response's contexts have drifted.

    .. math:: \ell = -\log\sigma\big(\beta\,(h_w - h_l - (D_l - D_w))\big),
        \quad D = \sum_t \mathrm{KL}\big(\pi_{ref}(\cdot|y_{<t}) \,\|\, \pi(\cdot|y_{<t})\big)

    Args:
        scores: Pairs with reference scores, nats, and the element `kl_reference`, nats.
        beta: KL strength, reward per nat.

    Returns:
        [B] loss per pair, nats.

    Raises:
        ObjectiveError: If there are no reference scores, or a row does not hold two responses.
        ConfigError: If an option is out of range.

    Curves:
        Starts at 0.693. The token-level divergence of the chosen and of the rejected
        response stay close; `rewards/margins` rises more slowly than under `dpo`.

    Pitfalls:
        It compares whole distributions, so policy and reference are both run and the
        vocabulary's logits of both are held: more memory, and no cached reference.

    Source:
        Zeng et al. 2024, arXiv:2404.11999, eq. 14.

    Example:
        >>> pair = Scores(torch.zeros(1, 2), torch.full((1, 2), 2.0), reference=torch.zeros(1, 2),
        ...               elements={"kl_reference": torch.tensor([[[2.0, 3.0], [1.0, 9.0]]]),
        ...                         "mask": torch.tensor([[[True, True], [True, False]]])})
        >>> tdpo1(pair, beta=0.25)  # 0.25 (5 - 1) = 1
        tensor([0.3133])
    """
    drift = _drift(scores)
    return logistic(beta * (gap(scores.log_ratio) + gap(drift)))


@objective(
    "pair",
    needs=DIVERGENCE,
    formula="-log sigma({beta} (h_w - h_l - {alpha} (D_l - D_w))), D = sum over tokens of "
    "KL(ref || pi), D_w without gradient",
)
def tdpo2(scores: Scores, *, beta: Strength = 0.1, alpha: NonNegative = 0.5) -> Tensor:
    r"""`tdpo1` with a weight on the drift, and no gradient through that of the chosen response.

    .. math:: \ell = -\log\sigma\big(\beta\,(h_w - h_l - \alpha\,(D_l - \mathrm{sg}[D_w]))\big)

    Args:
        scores: Pairs with reference scores, nats, and the element `kl_reference`, nats.
        beta: KL strength, reward per nat.
        alpha: Weight of the drift.

    Returns:
        [B] loss per pair, nats.

    Raises:
        ObjectiveError: If there are no reference scores, or a row does not hold two responses.
        ConfigError: If an option is out of range.

    Curves:
        Starts at 0.693. As `tdpo1`, with the chosen response freer to move.

    Pitfalls:
        A large `alpha` holds the rejected response so close that nothing is learnt. As
        `tdpo1`, it needs the logits of policy and reference.

    Source:
        Zeng et al. 2024, arXiv:2404.11999, eq. 17.

    Example:
        >>> pair = Scores(torch.zeros(1, 2), torch.ones(1, 2), reference=torch.zeros(1, 2),
        ...               elements={"kl_reference": torch.tensor([[[5.0], [1.0]]]),
        ...                         "mask": torch.ones(1, 2, 1, dtype=torch.bool)})
        >>> tdpo2(pair, beta=0.5)  # 0.5 (0.5) (5 - 1) = 1
        tensor([0.3133])
    """
    drift = _drift(scores)
    moved = alpha * (drift[:, 0].detach() - drift[:, 1])
    return logistic(beta * (gap(scores.log_ratio) + moved))


@objective(
    "pair",
    needs=Needs(reference=True, elements=frozenset({"log_prob", "reference_log_prob"})),
    formula="-log sigma({beta} (g_w - g_l)), g = h of the first k tokens + {tail_weight} h of the "
    "rest, k = min(n_w, n_l)",
)
def ld_dpo(
    scores: Scores,
    *,
    beta: Strength = 0.1,
    tail_weight: Annotated[float, Range(at_least=0, at_most=1, usual=(0.2, 1.0))] = 0.5,
) -> Tensor:
    r"""DPO in which the tokens by which the longer response exceeds the shorter count less.

    .. math:: \ell = -\log\sigma\big(\beta\,(g_w - g_l)\big), \quad
        g = \sum_{t \le k} h_t + \alpha \sum_{t > k} h_t, \quad k = \min(n_w, n_l)

    with :math:`h_t = \log\pi(y_t) - \log\pi_{ref}(y_t)`. A weight of 1 is `dpo`.

    Args:
        scores: Pairs with the elements `log_prob` and `reference_log_prob`, nats.
        beta: KL strength, reward per nat.
        tail_weight: alpha.

    Returns:
        [B] loss per pair, nats.

    Raises:
        ObjectiveError: If there are no reference scores, or a row does not hold two responses.
        ConfigError: If an option is out of range.

    Curves:
        Starts at 0.693. As `dpo`, with less growth of length.

    Pitfalls:
        With a small `tail_weight` nobody judges how long responses end: look at samples for
        rambling. It reads tokens of the reference, so its scores cannot be cached.

    Source:
        Liu et al. 2024, arXiv:2409.06411, eq. 10.

    Example:
        >>> pair = Scores(torch.zeros(1, 2), torch.tensor([[2.0, 1.0]]),
        ...     reference=torch.zeros(1, 2), elements={
        ...         "log_prob": torch.tensor([[[1.0, 2.0], [1.0, 7.0]]]),
        ...         "reference_log_prob": torch.zeros(1, 2, 2),
        ...         "mask": torch.tensor([[[True, True], [True, False]]])})
        >>> ld_dpo(pair, beta=1.0)  # (1 + 0.5 (2)) - 1
        tensor([0.3133])
    """
    mask = scores.elements["mask"].bool()
    ratio = scores.elements["log_prob"] - scores.elements["reference_log_prob"]
    place = mask.cumsum(2)
    shared = place.amax((1, 2), keepdim=True).minimum(place[..., -1:].amin(1, keepdim=True))
    ratio = torch.where(place <= shared, ratio, tail_weight * ratio)
    return logistic(beta * gap(torch.where(mask, ratio, 0.0).sum(2)))


@objective(
    "pair",
    needs=Needs(reference=True, elements=frozenset({"log_prob", "log_collision"})),
    formula=lambda options: (
        "-w log sigma({beta} (h_w - h_l)), log w = sum over both responses of their mean of "
        "log pi(y_t) - log sum_v pi(v)^2" + (", at most 0" if options["clamp"] else "")
    ),
)
def wpo(scores: Scores, *, beta: Strength = 0.01, clamp: bool = True) -> Tensor:
    r"""DPO weighted by how likely the policy itself would write the pair.

    .. math:: \ell = -w\,\log\sigma\big(\beta\,(h_w - h_l)\big), \quad
        \log w = \sum_{y \in \{w, l\}} \frac1{n} \sum_t
        \Big[\log\pi(y_t) - \log\sum_v \pi(v)^2\Big]

    A token that the policy would draw has log-probability log sum pi^2 on average, so an on-policy
    response has a weight near 1. Weights carry no gradient.

    Args:
        scores: Pairs with reference scores, nats, and the elements `log_prob` and `log_collision`.
        beta: KL strength, reward per nat.
        clamp: No weight above 1, as in the authors' code.

    Returns:
        [B] loss per pair, nats.

    Raises:
        ObjectiveError: If there are no reference scores, or a row does not hold two responses.
        ConfigError: If an option is out of range.

    Curves:
        Starts at or below 0.693: unlikely pairs weigh less. It falls also when weights
        fall, so judge by `rewards/margins`.

    Pitfalls:
        On data that another model wrote nearly every weight is close to 0 and little is
        learnt: it is made for samples near the policy. It reads whole distributions, which
        costs memory.

    Source:
        Zhou et al. 2024, arXiv:2406.11827, eq. 5 and 6, and the authors' code.

    Example:
        >>> pair = Scores(torch.zeros(1, 2), torch.ones(1, 2), reference=torch.zeros(1, 2),
        ...     elements={"log_prob": torch.tensor([[[-2.0], [-1.0]]]),
        ...               "log_collision": torch.tensor([[[-1.0], [-1.0]]]),
        ...               "mask": torch.ones(1, 2, 1, dtype=torch.bool)})
        >>> wpo(pair)  # log 2 / e
        tensor([0.2550])
    """
    mask = scores.elements["mask"].bool()
    excess = (scores.elements["log_prob"] - scores.elements["log_collision"]).detach()
    means = torch.where(mask, excess, 0.0).sum(2) / mask.sum(2).clamp(min=1)
    log_weight = means.sum(1)
    weight = (log_weight.clamp(max=0.0) if clamp else log_weight).exp()
    return weight * logistic(beta * gap(scores.log_ratio))


def _drift(scores: Scores) -> Tensor:
    """Return [B, K] the divergence of the reference from the policy along each response, nats."""
    return torch.where(scores.elements["mask"].bool(), scores.elements["kl_reference"], 0.0).sum(2)
