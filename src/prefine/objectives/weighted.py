"""Losses whose strength follows graded rewards."""

from typing import Annotated, cast

import torch
from torch import Tensor

from prefine.errors import ObjectiveError
from prefine.objectives.declare import objective
from prefine.objectives.links import gap, logistic, per_unit
from prefine.objectives.options import NonNegative, Positive, Range, Strength
from prefine.scores import Needs, Scores


@objective(
    "pair",
    needs=Needs(reference=True, fields=frozenset({"utility"}), required=frozenset({"utility"})),
    formula="-log sigma({beta} f (h_w - h_l)), f = {gamma} (2 sigma(r_w - r_l) - 1), "
    "r = (utility - {low}) / ({high} - {low})",
)
def smoothed_dpo(
    scores: Scores,
    *,
    beta: Annotated[float, Range(above=0, usual=(0.01, 5000.0))] = 0.1,
    gamma: Annotated[float, Range(above=0, usual=(1.0, 20.0))] = 10.0,
    low: float = 0.0,
    high: float = 1.0,
) -> Tensor:
    r"""DPO whose strength follows how sure a reward is of the pair (SmPO's smoothed labels).

    .. math:: \ell = -\log\sigma\big(\beta f\,(h_w - h_l)\big),
        \quad f = \gamma\,\big(2\,\sigma(r'_w - r'_l) - 1\big)

    with rewards r' brought to [0, 1] over the data set. Near-tied pairs ask for little, and where
    the reward disagrees with the label f is negative: the reward overrules.

    Args:
        scores: Pairs with `utility` (the rewards) and reference scores.
        beta: KL strength, reward per nat, or per half squared error.
        gamma: Strength of a certain pair; since r' lies in [0, 1], f lies within 0.46 gamma.
        low: Smallest reward of the data set; a run finds what is not set in its data.
        high: Largest.

    Returns:
        [B] loss per pair, nats.

    Raises:
        ObjectiveError: If there are no utilities or reference scores, or `high` is not above `low`.
        ConfigError: If an option is out of range.

    Curves:
        Starts at 0.693 and falls more slowly than under `dpo`, since most pairs are near ties.

    Pitfalls:
        gamma scales beta and the gradient: tune beta after it. Rewards outside [`low`, `high`]
        are taken as they are.

    Source:
        SmPO-Diffusion, arXiv:2506.02698, of which a detailed public note was read; its renoising
        inversion is a matter of the draw, not of the loss.

    Example:
        >>> pair = Scores(torch.tensor([[1.0, 0.0]]), torch.ones(1, 2),
        ...               reference=torch.zeros(1, 2), utility=torch.tensor([[1.0, 0.0]]))
        >>> smoothed_dpo(pair, beta=1.0, gamma=1.0)  # f = 2 sigma(1) - 1 = 0.4621
        tensor([0.4885])
    """
    if high <= low:
        raise ObjectiveError(f"smoothed_dpo: high must be above low, got {high:g} and {low:g}.")
    reward = (cast(Tensor, scores.utility) - low) / (high - low)
    sure = gamma * (2 * torch.sigmoid(gap(reward)) - 1)
    return logistic(beta * sure * gap(scores.log_ratio))


@objective(
    "pair",
    needs=Needs(reference=True, fields=frozenset({"utility"}), required=frozenset({"utility"})),
    formula="-log sigma(b (h_w - h_l)) - {likelihood_weight} l_w / n_w, "
    "b = {beta} (1 + {boost} (1 - exp(-{rate} max(0, s_w - s_l)))), s = utility",
)
def mm_dpo(
    scores: Scores,
    *,
    beta: Strength = 0.1,
    boost: Annotated[float, Range(at_least=0, usual=(0.1, 2.0))] = 0.5,
    rate: Annotated[float, Range(above=0, usual=(0.1, 2.0))] = 0.5,
    likelihood_weight: NonNegative = 0.25,
) -> Tensor:
    r"""DPO whose strength grows, up to a bound, with the margin of a reward (MM-DPO).

    .. math:: \ell = -\log\sigma\big(b\,(h_w - h_l)\big) - \gamma\,\frac{\log\pi(y_w|x)}{n_w},
        \quad b = \beta\,\big(1 + w\,(1 - e^{-k \max(0, \delta)})\big)

    A pair that a reward finds clear pulls harder at first. But a larger strength also asks for a
    smaller log-ratio, so on a long run clear pairs end up *closer* to the reference, not further.

    Args:
        scores: Pairs with `utility` (rewards, whose difference is delta) and reference scores,
            nats. A delta below 0, where the reward contradicts the label, counts as 0.
        beta: KL strength of an unclear pair, reward per nat.
        boost: w, how much more a clear pair has; 0 with no likelihood term is `dpo`.
        rate: k, how soon a lead counts as clear, per unit of reward.
        likelihood_weight: gamma.

    Returns:
        [B] loss per pair, nats.

    Raises:
        ObjectiveError: If there are no utilities or reference scores, or a row does not hold two
            responses.
        ConfigError: If an option is out of range.

    Curves:
        Has no fixed start: 0.693 plus `likelihood_weight` times the negative log-likelihood per
        token, which keeps `logps/chosen` from falling.

    Pitfalls:
        The released code of the paper has another beta, from the policy's own margins, and a label
        smoothing that is turned around; this is the formula of the paper. Rewards in other units
        need another `rate`.

    Source:
        MM-RLHF, arXiv:2502.10391, of which a detailed public note was read; constants from memory.

    Example:
        >>> pair = Scores(torch.tensor([[1.0, 0.0]]), torch.ones(1, 2),
        ...               reference=torch.zeros(1, 2), utility=torch.ones(1, 2))
        >>> mm_dpo(pair, beta=1.0, likelihood_weight=0.0)  # no lead: plain dpo, log(1 + exp(-1))
        tensor([0.3133])
    """
    lead = gap(cast(Tensor, scores.utility)).clamp(min=0)
    strength = beta * (1 + boost * -torch.expm1(-rate * lead))
    preference = logistic(strength * gap(scores.log_ratio))
    return preference - likelihood_weight * per_unit(scores, scores.policy)[:, 0]


@objective(
    "point",
    needs=Needs(fields=frozenset({"utility"}), required=frozenset({"utility"})),
    formula="-min(exp((utility - {centre}) / {temperature}), {largest}) l",
)
def reward_weighted(
    scores: Scores,
    *,
    temperature: Annotated[float, Range(above=0, usual=(0.1, 2.0))] = 1.0,
    centre: float = 0.0,
    largest: Positive = 20.0,
) -> Tensor:
    r"""Imitation in proportion to the exponential of the reward (reward-weighted regression).

    .. math:: \ell = -\min\big(e^{(r - c)/\tau},\, w_{max}\big)\,\log\pi(y|x)

    On responses of the reference its minimum is the reference tilted by :math:`e^{r/\tau}`, the
    optimum of a reward with a KL penalty tau, wherever no weight is held back.

    Args:
        scores: Points with `utility` (the reward r).
        temperature: tau, reward per nat.
        centre: c, the reward whose weight is 1; near the mean, so that weights are near 1.
        largest: Largest weight.

    Returns:
        [B] loss per row.

    Raises:
        ObjectiveError: If there are no utilities.
        ConfigError: If an option is out of range.

    Curves:
        Falls like the loss of `sft` on the better rows.

    Pitfalls:
        A low temperature or a far `centre` makes a few rows everything, or all weights `largest`,
        which is plain imitation.

    Source:
        Peters and Schaal 2007, "Reinforcement learning by reward-weighted regression"; for flows:
        Liu et al. 2025, arXiv:2501.13918.

    Example:
        >>> point = Scores(torch.tensor([[-2.0]]), torch.ones(1, 1), utility=torch.tensor([[1.0]]))
        >>> reward_weighted(point, temperature=0.5, centre=1.0)
        tensor([2.])
    """
    reward = cast(Tensor, scores.utility)[:, 0]
    weight = ((reward - centre) / temperature).exp().clamp(max=largest)
    return -weight * scores.policy[:, 0]
