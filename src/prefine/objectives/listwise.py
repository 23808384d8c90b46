"""Likelihoods of a ranking of K responses: its best is chosen first, then the best of the rest."""

from typing import Annotated, cast

import torch
from torch import Tensor

from prefine.objectives.declare import Options, objective
from prefine.objectives.links import per_unit, present
from prefine.objectives.options import NonNegative, Range, Strength
from prefine.scores import Needs, Scores


def _needs(options: Options) -> Needs:
    return Needs(reference=bool(options["reference"]), fields=frozenset({"utility"}))


def _formula(options: Options) -> str:
    score = "h" if options["reference"] else "l"
    stages = "k" if options["top_k"] is None else "the first {top_k} ranks k"
    rest = f"log sum_(j not above k) exp({{beta}} {score}_j)"
    return f"-sum over {stages} of [{{beta}} {score}_k - {rest}]"


@objective("list", needs=_needs, formula=_formula)
def plackett_luce(
    scores: Scores,
    *,
    beta: Strength = 0.1,
    reference: bool = True,
    top_k: Annotated[int, Range(at_least=1)] | None = None,
) -> Tensor:
    r"""Negative log-likelihood of a whole ranking: its best is chosen, then the best of the rest.

    With u = beta h (or beta log pi, or a reward, without a reference), best response first,

    .. math:: \ell = -\sum_k \Big[u_k - \log\sum_{j \in R_k} e^{u_j}\Big]

    where :math:`R_k` holds the responses that are not ranked above k. For two responses this is
    `dpo`. Responses with equal utility are tied: none of them is above another, so each is compared
    with all of them (Breslow's treatment), in whatever order they come. A pair of tied responses
    thus costs twice what `dpo` takes for a soft label of one half.

    Args:
        scores: Lists, best first, nats, with reference scores unless `reference` is false. Absent
            responses (`valid`) add nothing. `utility` is read where present, for ties only; where
            it is unknown (NaN) the order decides.
        beta: KL strength, reward per nat. For rewards, which have no reference, 1 is natural.
        reference: Score by the log-ratio to the reference; otherwise by `scores.policy` alone.
        top_k: Count only the stages that choose the best `top_k` ranks: the order of the tail is
            then left free. All stages if None.

    Returns:
        [B] loss per list, nats; 0 for a list of one response.

    Raises:
        ObjectiveError: If a reference is asked for and absent.
        ConfigError: If an option is out of range.

    Curves:
        Starts at log K! where no two are tied: 0.693, 1.792, 3.178 for two, three, four
        responses.

    Pitfalls:
        The order of the worst counts as much as that of the best, and raters take less care
        with it: `top_k` leaves it free. Long lists weigh more, since each stage adds to the
        loss.

    Source:
        Plackett 1975; Luce 1959; with a reference: Rafailov et al. 2023, arXiv:2305.18290,
        appendix A.3. Ties: Breslow 1974. Top k: Xia et al. 2009, "Statistical consistency of top-k
        ranking".

    Example:
        >>> ranking = Scores(torch.tensor([[2.0, 1.0, 0.0]]), torch.ones(1, 3))
        >>> plackett_luce(ranking, beta=1.0, reference=False)  # 0.4076 + 0.3133 + 0
        tensor([0.7209])
    """
    score = beta * (scores.log_ratio if reference else scores.policy)
    valid = present(scores)
    not_above = _not_above(scores) & valid[:, None, :]
    # An absent response is compared with itself alone, which costs 0 and has no gradient.
    itself = torch.eye(score.shape[1], dtype=torch.bool, device=score.device)
    score = torch.where(valid, score, 0.0)
    rest = score[:, None, :].masked_fill(~(not_above | itself), -torch.inf)
    stage = torch.where(valid, rest.logsumexp(2) - score, 0.0)
    if top_k is not None:
        above = (~not_above & valid[:, None, :]).sum(2)
        stage = torch.where(above < top_k, stage, 0.0)
    return stage.sum(1)


def _not_above(scores: Scores) -> Tensor:
    """Return [B, K, K], true at (k, j) where response j is not ranked above response k."""
    count = scores.policy.shape[1]
    order = torch.ones(count, count, dtype=torch.bool, device=scores.policy.device).triu()
    if scores.utility is None:
        return order.expand(len(scores.policy), -1, -1)
    return order | (scores.utility[:, :, None] == scores.utility[:, None, :])


def _pro_needs(options: Options) -> Needs:
    graded = frozenset({"utility"}) if options["graded"] else frozenset[str]()
    return Needs(fields=graded, required=graded)


def _pro_formula(options: Options) -> str:
    if options["graded"]:
        chain = (
            "-sum over k of [z_kk - log sum_(j >= k) exp(z_kj)], z_kj = (s_k - s_j) l_j / n_j, "
            "z_kk = max_j (s_k - s_j) l_k / n_k, s = utility"
        )
    else:
        chain = "-sum over k of [l_k / n_k - log sum_(j >= k) exp(l_j / n_j)]"
    return chain + " - {likelihood_weight} (K - 1)^2 l_1"


@objective("list", needs=_pro_needs, formula=_pro_formula)
def pro(scores: Scores, *, likelihood_weight: NonNegative = 0.05, graded: bool = True) -> Tensor:
    r"""Ranking without a reference, each contrast as sharp as its rewards differ, plus likelihood.

    With :math:`\bar l = \log\pi(y|x) / n`, the best of the K responses first, and rewards s,

    .. math:: \ell = -\sum_{k<K} \log\frac{e^{\tau_{kk} \bar l_k}}
        {e^{\tau_{kk} \bar l_k} + \sum_{j>k} e^{\tau_{kj} \bar l_j}}
        - \lambda\,(K-1)^2 \log\pi(y_1|x),
        \quad \tau_{kj} = s_k - s_j, \quad \tau_{kk} = \max_{j>k} \tau_{kj}

    Temperatures multiply negative numbers, so a response that is far worse counts less. With
    `graded=False` they are 1, and what is left of the chain is `plackett_luce` on
    :math:`\bar l`. Tied responses add a constant, without gradient.

    Args:
        scores: Lists, best first, nats, with `utility` (the rewards s, best in (0, 1)) unless
            `graded` is false. Absent responses (`valid`) take no part, and K counts those present.
        likelihood_weight: lambda, before the factor :math:`(K-1)^2`; the likelihood is summed over
            tokens.
        graded: Whether differences of rewards are temperatures.

    Returns:
        [B] loss per list, nats; 0 for a list of one response.

    Raises:
        ObjectiveError: If `graded` and there are no utilities.
        ConfigError: If an option is out of range.

    Curves:
        Has no fixed start: the likelihood term is most of it. `logps/chosen` rises.

    Pitfalls:
        Rewards on another scale than (0, 1) change every temperature. The factor (K - 1)^2
        makes long lists mostly imitation of the best. Tied responses teach nothing.

    Source:
        Song et al. 2023, arXiv:2306.17492, eq. 5 to 7; the factor and the mean over tokens are
        those of the authors' code.

    Example:
        >>> even = Scores(torch.tensor([[-2.0, -2.0]]), torch.full((1, 2), 4.0))
        >>> pro(even, graded=False, likelihood_weight=0.0)
        tensor([0.6931])
    """
    valid, mean = present(scores), per_unit(scores, scores.policy)
    count, size = valid.sum(1), mean.shape[1]
    after = torch.ones(size, size, dtype=torch.bool, device=mean.device).triu(1)
    contrasted = after & valid[:, :, None] & valid[:, None, :]
    if graded:
        utility = torch.where(valid, cast(Tensor, scores.utility), 0.0)
        heat = torch.where(contrasted, utility[:, :, None] - utility[:, None, :], 0.0)
        own = heat.amax(2)
    else:
        heat, own = torch.ones_like(mean)[:, None, :], torch.ones_like(mean)
    mean = torch.where(valid, mean, 0.0)
    itself = own * mean
    others = (heat * mean[:, None, :]).masked_fill(~contrasted, -torch.inf)
    level = torch.cat([itself[:, :, None], others], dim=2).logsumexp(2) - itself
    chain = torch.where(contrasted.any(2), level, 0.0).sum(1)
    likelihood = torch.where(valid[:, 0], scores.policy[:, 0], 0.0)
    contrasts = (count - 1).clamp(min=0).to(likelihood.dtype)
    return chain - likelihood_weight * contrasts**2 * likelihood
