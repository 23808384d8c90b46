"""Losses on a pair of responses, under the policy and under a frozen reference."""

from typing import Annotated

from torch import Tensor

from prefine.objectives.declare import Options, objective
from prefine.objectives.links import expected, gap, label_text, logistic, per_unit, soft_label
from prefine.objectives.options import LabelNoise, Range, Strength
from prefine.scores import Needs, Scores

REFERENCE_AND_PROB = Needs(reference=True, fields=frozenset({"prob"}))


@objective(
    "pair",
    needs=REFERENCE_AND_PROB,
    formula=lambda options: (
        "-q log sigma(u) - (1 - q) log sigma(-u), u = {beta} (h_w - h_l), " + label_text(options)
    ),
)
def dpo(scores: Scores, *, beta: Strength = 0.1, label_noise: LabelNoise = 0.0) -> Tensor:
    r"""Logistic loss on the margin of implicit rewards; with label noise it is cDPO.

    With :math:`h = \log\pi(y|x) - \log\pi_{ref}(y|x)` and q the probability that the first response
    is the better one,

    .. math:: \ell = -q\log\sigma(u) - (1-q)\log\sigma(-u), \quad u = \beta\,(h_w - h_l)

    A soft label p and a flip probability e combine as q = p (1 - e) + (1 - p) e.

    Args:
        scores: Pairs with reference scores, nats; `prob` is read where present.
        beta: KL strength, reward per nat; larger stays closer to the reference.
        label_noise: Probability in [0, 0.5) that a label is flipped.

    Returns:
        [B] loss per pair, nats.

    Raises:
        ObjectiveError: If there are no reference scores, or a row does not hold two responses.
        ConfigError: If an option is out of range.

    Curves:
        Starts at 0.693 and falls slowly. `rewards/margins` rises from 0,
        `rewards/accuracies` from one half. `rewards/rejected` falls faster than
        `rewards/chosen`, which usually falls, too.

    Pitfalls:
        The chosen response may become less likely (displacement; see `logps/chosen`):
        `rpo`, `dpop`, `length_normalised_dpo`, `apo_zero`, a larger beta or a smaller rate
        help. Labels taken for certain push pairs apart without end. `ranking_accuracy` may
        stay near its start: it is not `rewards/accuracies`.

    Source:
        Rafailov et al. 2023, arXiv:2305.18290, eq. 7. Label noise: Mitchell 2023, "A note on DPO
        with noisy preferences and relationship to IPO".

    Example:
        >>> import torch
        >>> pair = Scores(torch.tensor([[-1.0, -3.0]]), torch.ones(1, 2),
        ...               reference=torch.tensor([[-2.0, -2.0]]))
        >>> dpo(pair, beta=0.5)
        tensor([0.3133])
    """
    logit = beta * gap(scores.log_ratio)
    return expected(logistic(logit), logistic(-logit), soft_label(scores, label_noise))


def _ipo_formula(options: Options) -> str:
    distance = "h_w / n_w - h_l / n_l" if options["average"] else "h_w - h_l"
    return f"p (d - t)^2 + (1 - p) (d + t)^2, d = {distance}, t = 1 / (2 * {{tau}})"


@objective("pair", needs=REFERENCE_AND_PROB, formula=_ipo_formula)
def ipo(
    scores: Scores,
    *,
    tau: Annotated[float, Range(above=0, usual=(0.01, 1.0))] = 0.1,
    average: bool = True,
) -> Tensor:
    r"""Squared distance of the log-ratio gap from a finite target, so that it cannot run away.

    .. math:: \ell = p\,(d - t)^2 + (1-p)\,(d + t)^2, \quad t = \tfrac{1}{2\tau}

    where p is the soft label, 1 where a row has none. Up to 4 p (1 - p) t^2, which has no gradient,
    this is the square :math:`(d - (2p-1)\,t)^2`.

    The paper writes d as a difference of sums, :math:`h_w - h_l` (`average=False`). Its authors and
    the common implementations use means per unit, :math:`h_w/n_w - h_l/n_l` (the default). The two
    want values of tau that differ by about the length of a response: with means, tau = 0.1 asks for
    a gap of 5 nats in every token, which in effect makes the loss linear.

    Args:
        scores: Pairs with reference scores, nats; `prob` is read where present.
        tau: KL strength; the target gap is 1 / (2 tau).
        average: Divide log-ratios by scored units.

    Returns:
        [B] loss per pair, nats squared (per unit squared with `average`).

    Raises:
        ObjectiveError: If there are no reference scores, or a row does not hold two responses.
        ConfigError: If an option is out of range.

    Curves:
        Starts at 25 with the default tau, (1 / (2 tau))^2, and falls by little: a target of
        5 nats a token is out of reach, so the loss is nearly linear in the gap.

    Pitfalls:
        tau is not DPO's beta, and one tuned for sums is off for means by about the length
        of a response. The loss is squared: a few odd rows dominate a step.

    Source:
        Azar et al. 2023, arXiv:2310.12036, eq. 17; soft label: Calandriello et al. 2024,
        arXiv:2403.08635, section 3.

    Example:
        >>> import torch
        >>> pair = Scores(torch.tensor([[-1.0, -3.0]]), torch.full((1, 2), 2.0),
        ...               reference=torch.tensor([[-2.0, -2.0]]))
        >>> ipo(pair, tau=0.5), ipo(pair, tau=0.5, average=False)  # (1 - 1)^2 and (2 - 1)^2
        (tensor([0.]), tensor([1.]))
    """
    ratio = per_unit(scores, scores.log_ratio) if average else scores.log_ratio
    distance, target = gap(ratio), 1 / (2 * tau)
    first, second = (distance - target).square(), (distance + target).square()
    return expected(first, second, soft_label(scores))
