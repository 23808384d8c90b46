"""Losses on a pair of responses that need no reference."""

import math
from typing import Annotated

import torch
from torch import Tensor

from prefine.objectives.declare import objective
from prefine.objectives.links import expected, gap, log1mexp, logistic, per_unit, soft_label
from prefine.objectives.options import NonNegative, Range, Strength
from prefine.scores import Needs, Scores

PROB = Needs(fields=frozenset({"prob"}))
STEEPEST = 40.0
"""Exponent beyond which an exponential goes on as its tangent."""


@objective(
    "pair",
    needs=PROB,
    formula="-p log sigma({beta} (d - {gamma_over_beta})) - (1 - p) log sigma({beta} "
    "(-d - {gamma_over_beta})), d = l_w / n_w - l_l / n_l",
)
def simpo(
    scores: Scores,
    *,
    beta: Annotated[float, Range(above=0, usual=(2.0, 10.0))] = 2.0,
    gamma_over_beta: NonNegative = 0.5,
) -> Tensor:
    r"""Logistic loss on mean log-probabilities, which must differ by a demanded margin.

    With :math:`d = \log\pi(y_w|x)/n_w - \log\pi(y_l|x)/n_l` and :math:`\gamma = \beta\cdot`
    `gamma_over_beta`,

    .. math:: \ell = -p\log\sigma(\beta d - \gamma) - (1-p)\log\sigma(-\beta d - \gamma)

    where p is the soft label, 1 where a row has none. The margin is demanded of whichever response
    is the better one, so swapping the responses and p -> 1 - p leaves the loss unchanged.

    Args:
        scores: Pairs, nats, with lengths; `prob` is read where present.
        beta: Scale of the reward, per nat per unit; about twenty times that of `dpo`.
        gamma_over_beta: Demanded margin in nats per unit. It is the ratio that is tuned, 0 to 1.

    Returns:
        [B] loss per pair, nats.

    Raises:
        ObjectiveError: If a row does not hold two responses.
        ConfigError: If an option is out of range.

    Curves:
        Has no fixed start; at equal likelihoods per token it is 1.313 with the default
        options. `rewards/margins` rises; `logps/chosen` usually falls.

    Pitfalls:
        No reference holds the policy: it wants rates of 3e-7 to 1e-6 and one epoch, and
        ends in degenerate text otherwise. Its beta is 10 to 100 times that of `dpo`.

    Source:
        Meng et al. 2024, arXiv:2405.14734, eq. 6; defaults from section 4 and the authors' code.

    Example:
        >>> import torch
        >>> pair = Scores(torch.tensor([[-2.0, -6.0]]), torch.tensor([[2.0, 4.0]]))
        >>> simpo(pair)  # d = -1 + 1.5 = 0.5, so the logit is 2 (0.5 - 0.5) = 0
        tensor([0.6931])
    """
    distance, margin = gap(per_unit(scores, scores.policy)), gamma_over_beta
    first, second = logistic(beta * (distance - margin)), logistic(beta * (-distance - margin))
    return expected(first, second, soft_label(scores))


@objective(
    "pair",
    needs=PROB,
    formula="p max(0, {delta} - d) + (1 - p) max(0, {delta} + d) - {likelihood_weight} l_w, "
    "d = l_w - l_l",
)
def slic_hf(
    scores: Scores,
    *,
    delta: Annotated[float, Range(above=0, usual=(0.1, 10.0))] = 1.0,
    likelihood_weight: NonNegative = 0.1,
) -> Tensor:
    r"""Hinge loss on log-probabilities plus the likelihood of the chosen response.

    .. math:: \ell = p\,[\delta - d]_+ + (1-p)\,[\delta + d]_+ - \lambda \log\pi(y_w|x),
        \quad d = \log\pi(y_w|x) - \log\pi(y_l|x)

    The likelihood term is of the first response, whatever its soft label; the paper also takes it
    of the target of supervised fine-tuning.

    Args:
        scores: Pairs, nats; `prob` is read where present.
        delta: Demanded margin, nats.
        likelihood_weight: lambda.

    Returns:
        [B] loss per pair, nats.

    Raises:
        ObjectiveError: If a row does not hold two responses.
        ConfigError: If an option is out of range.

    Curves:
        Has no fixed start: `delta` less the difference of summed log-probabilities, where
        positive, plus the likelihood. `logps/chosen` rises, held up by its likelihood.

    Pitfalls:
        Sums make longer responses less likely, so pairs with a longer chosen response cost
        most. The likelihood term is summed over tokens: long responses dominate it.

    Source:
        Zhao et al. 2023, arXiv:2305.10425, eq. 3.

    Example:
        >>> slic_hf(Scores(torch.tensor([[-2.0, -2.5]]), torch.ones(1, 2)))  # 0.5 + 0.2
        tensor([0.7000])
    """
    distance = gap(scores.policy)
    first, second = (delta - distance).relu(), (delta + distance).relu()
    return expected(first, second, soft_label(scores)) - likelihood_weight * scores.policy[:, 0]


@objective(
    "pair",
    needs=PROB,
    formula="-p log sigma({beta} d) - (1 - p) log sigma(-{beta} d) - {likelihood_weight} "
    "l_w / n_w, d = l_w - l_l",
)
def cpo(scores: Scores, *, beta: Strength = 0.1, likelihood_weight: NonNegative = 1.0) -> Tensor:
    r"""DPO with a uniform reference, plus the likelihood of the chosen response.

    .. math:: \ell = -p\log\sigma(\beta d) - (1-p)\log\sigma(-\beta d)
        - \alpha\,\frac{\log\pi(y_w|x)}{n_w}, \quad d = \log\pi(y_w|x) - \log\pi(y_l|x)

    The likelihood term is of the first response, whatever its soft label, and per unit, as in the
    common implementations.

    Args:
        scores: Pairs, nats, with lengths; `prob` is read where present.
        beta: Reward per nat.
        likelihood_weight: alpha.

    Returns:
        [B] loss per pair, nats.

    Raises:
        ObjectiveError: If a row does not hold two responses.
        ConfigError: If an option is out of range.

    Curves:
        Has no fixed start: the logit is a difference of summed log-probabilities, often
        tens of nats. `logps/chosen` should rise, held up by its likelihood.

    Pitfalls:
        Sums make longer responses less likely, so the first gradients are about length.
        Nothing but the likelihood term and a small learning rate holds the policy.

    Source:
        Xu et al. 2024, arXiv:2401.08417, eq. 6.

    Example:
        >>> cpo(Scores(torch.tensor([[-2.0, -2.0]]), torch.full((1, 2), 4.0)))  # log 2 + 0.5
        tensor([1.1931])
    """
    logit = beta * gap(scores.policy)
    preference = expected(logistic(logit), logistic(-logit), soft_label(scores))
    return preference - likelihood_weight * per_unit(scores, scores.policy)[:, 0]


@objective(
    "pair",
    needs=PROB,
    formula="-l_w / n_w - {odds_weight} [p log sigma(d) + (1 - p) log sigma(-d)], "
    "d = o_w - o_l, o = l / n - log(1 - exp(l / n))",
)
def orpo(
    scores: Scores, *, odds_weight: Annotated[float, Range(at_least=0, usual=(0.05, 1.0))] = 0.1
) -> Tensor:
    r"""Imitates the chosen response and raises its odds over the rejected one, in one stage.

    .. math:: \ell = -\bar l_w - \lambda\,\big[p\log\sigma(d) + (1-p)\log\sigma(-d)\big],
        \quad d = o_w - o_l, \quad o = \bar l - \log(1 - e^{\bar l})

    with the mean log-probability per unit. Odds of a certain response are infinite: a mean closer
    to 0 than 1e-6 nats is taken as 1e-6.

    Args:
        scores: Pairs, nats, with lengths; `prob` is read where present.
        odds_weight: lambda. TRL calls it `beta`.

    Returns:
        [B] loss per pair, nats.

    Raises:
        ObjectiveError: If a row does not hold two responses.
        ConfigError: If an option is out of range.

    Curves:
        Has no fixed start: the negative log-likelihood per token of the chosen response,
        plus about a tenth. `logps/chosen` rises with it.

    Pitfalls:
        The likelihood dominates, so a run may be plain imitation: watch `rewards/margins`.
        There is no reference to come back to: a rate as for supervised training moves the
        policy far.

    Source:
        Hong et al. 2024, arXiv:2403.07691, eq. 6 and 7.

    Example:
        >>> half = torch.tensor([0.5]).log()  # even odds
        >>> orpo(Scores(half.expand(1, 2), torch.ones(1, 2)))  # 1.1 log 2
        tensor([0.7625])
    """
    mean = per_unit(scores, scores.policy)
    below = mean.clamp(max=-1e-6)
    odds = below - log1mexp(below)
    preference = expected(logistic(gap(odds)), logistic(-gap(odds)), soft_label(scores))
    return odds_weight * preference - mean[:, 0]


@objective(
    "pair",
    needs=PROB,
    formula="-p log sigma({beta} (d - {gamma_over_beta})) - (1 - p) log sigma({beta} "
    "(-d - {gamma_over_beta})), d = r_w - r_l, r = (1 - exp(-{alpha} l / n)) / {alpha}",
)
def alphapo(
    scores: Scores,
    *,
    beta: Annotated[float, Range(above=0, usual=(2.0, 10.0))] = 2.5,
    gamma_over_beta: NonNegative = 0.1,
    alpha: Annotated[float, Range(above=0, usual=(0.01, 0.5))] = 0.25,
) -> Tensor:
    r"""SimPO with a reward that grows ever more slowly as a response becomes likely.

    .. math:: r = \frac{1 - e^{-\alpha \bar l}}{\alpha}, \quad d = r_w - r_l, \quad
        \ell = -p\log\sigma(\beta d - \gamma) - (1-p)\log\sigma(-\beta d - \gamma)

    with the mean log-probability per unit; for alpha to 0 it is `simpo`. The exponential goes on as
    its tangent beyond e^40.

    Args:
        scores: Pairs, nats, with lengths; `prob` is read where present.
        beta: Scale of the reward.
        gamma_over_beta: Demanded margin in units of r; the ratio is what is tuned.
        alpha: Bend of the reward.

    Returns:
        [B] loss per pair, nats.

    Raises:
        ObjectiveError: If a row does not hold two responses.
        ConfigError: If an option is out of range.

    Curves:
        Has no fixed start: it depends on the likelihoods of the data. `rewards/margins`
        rises; `logps/chosen` falls less than under `simpo` with a positive `alpha`.

    Pitfalls:
        As for `simpo`, nothing holds the policy but a small learning rate. A large `alpha`
        lets unlikely responses dominate, since their reward grows exponentially.

    Source:
        Gupta et al. 2025, arXiv:2501.03884, section 3; defaults are those for an 8B chat model.

    Example:
        >>> pair = Scores(torch.tensor([[-1.0, -2.0]]), torch.ones(1, 2))
        >>> alphapo(pair, beta=1.0, gamma_over_beta=0.0, alpha=1.0)  # e^2 - e = 4.6708
        tensor([0.0093])
    """
    exponent = -alpha * per_unit(scores, scores.policy)
    # expm1 keeps what 1 - exp loses while alpha times a log-probability is small
    grown = torch.where(
        exponent > STEEPEST,
        math.exp(STEEPEST) * (1 + exponent - STEEPEST),
        exponent.clamp(max=STEEPEST).expm1(),
    )
    distance, margin = gap(-grown / alpha), gamma_over_beta
    first, second = logistic(beta * (distance - margin)), logistic(beta * (-distance - margin))
    return expected(first, second, soft_label(scores))
