"""Losses on a ranking of K responses that add up over its pairs."""

from typing import Annotated, Literal, cast

import torch
from torch import Tensor

from prefine.objectives.declare import Options, objective
from prefine.objectives.links import logistic, present
from prefine.objectives.options import NonNegative, Range, Strength
from prefine.scores import Needs, Scores


def _needs(options: Options) -> Needs:
    return Needs(reference=bool(options["reference"]), fields=frozenset({"utility"}))


def _formula(options: Options) -> str:
    pairs = "i above j" if options["max_skip"] is None else "i up to {max_skip} places above j"
    if options["min_gap"]:
        pairs += " by more than {min_gap}"
    u = "u = {beta} h" if options["reference"] else "u = {beta} l"
    if options["one_log"]:
        return f"log(1 + sum over {pairs} of exp(u_j - u_i)), {u}"
    return f"-sum over {pairs} of log sigma(u_i - u_j), {u}"


@objective("list", needs=_needs, formula=_formula)
def ranklist(
    scores: Scores,
    *,
    beta: Strength = 0.1,
    reference: bool = True,
    max_skip: Annotated[int, Range(at_least=1)] | None = None,
    min_gap: NonNegative = 0.0,
    one_log: bool = False,
) -> Tensor:
    r"""Logistic loss on every pair of a ranking, not on neighbours alone (RankNet, RankList).

    With u = beta h (or beta log pi, or a reward, without a reference), best response first,

    .. math:: \ell = -\sum_{i<j} \log\sigma(u_i - u_j)

    over the pairs that are at most `max_skip` places apart and whose utilities differ. With
    `one_log` it is the lower bound :math:`\log\big(1 + \sum_{i<j} e^{u_j - u_i}\big)`. For two
    responses both are `dpo`. A longer list has more pairs, so it weighs more.

    Args:
        scores: Lists, best first, nats, with reference scores unless `reference` is false. Absent
            responses (`valid`) add nothing. `utility` is read where present, to leave out ties;
            where it is unknown (NaN) the order decides.
        beta: KL strength, reward per nat. For rewards, which have no reference, 1 is natural.
        reference: Score by the log-ratio to the reference; otherwise by `scores.policy` alone.
        max_skip: How many places a pair may be apart; 1 takes neighbours, None every pair. The
            paper starts at 1 and raises it as training goes on.
        min_gap: Leave out pairs whose utilities differ by no more than this.
        one_log: One logarithm for the whole list, the paper's cheap approximation.

    Returns:
        [B] loss per list, nats; 0 for a list of one response.

    Raises:
        ObjectiveError: If a reference is asked for and absent.
        ConfigError: If an option is out of range.

    Curves:
        Starts at K (K - 1) / 2 log 2 where no two are tied: 0.693, 2.079, 4.159 for two,
        three, four responses.

    Pitfalls:
        The number of pairs grows with the square of the list: lists of different length
        weigh very differently. The one logarithm is cheap, and only a bound.

    Source:
        Burges et al. 2005, "Learning to rank using gradient descent" (RankNet). Skips and one
        logarithm: RankList, arXiv:2508.09826, of whose formulas we know the description alone.

    Example:
        >>> ranking = Scores(torch.tensor([[2.0, 1.0, 0.0]]), torch.ones(1, 3))
        >>> ranklist(ranking, beta=1.0, reference=False)  # 0.3133 + 0.1269 + 0.3133
        tensor([0.7535])
    """
    score = beta * (scores.log_ratio if reference else scores.policy)
    pairs = _pairs(scores)
    if max_skip is not None:
        pairs = pairs & ~torch.ones_like(pairs[0]).triu(max_skip + 1)
    if scores.utility is not None:
        apart = scores.utility[:, :, None] - scores.utility[:, None, :]
        pairs = pairs & (apart.isnan() | (apart > min_gap))
    ahead = _ahead(score, pairs)
    if not one_log:
        return torch.where(pairs, logistic(ahead), 0.0).sum((1, 2))
    behind = (-ahead).masked_fill(~pairs, -torch.inf).flatten(1)
    return torch.cat([torch.zeros_like(behind[:, :1]), behind], dim=1).logsumexp(1)


@objective(
    "list",
    needs=Needs(reference=True, fields=frozenset({"utility"}), required=frozenset({"utility"})),
    formula=lambda options: (
        "-sum over s_i > s_j of |G_i - G_j| |1 / D_i - 1 / D_j| log sigma({beta} (h_i - h_j)), "
        + ("G = 2^s - 1" if options["gain"] == "exponential" else "G = s")
        + f", s = utility, D = log(1 + rank by {'h' if options['rank_by'] == 'policy' else 's'})"
    ),
)
def lipo(
    scores: Scores,
    *,
    beta: Strength = 0.1,
    gain: Literal["exponential", "linear"] = "exponential",
    rank_by: Literal["policy", "labels"] = "policy",
) -> Tensor:
    r"""DPO on every pair of a list, weighted by what swapping the two would do to its DCG (LiPO).

    .. math:: \ell = -\sum_{s_i > s_j} \Delta_{ij} \log\sigma\big(\beta\,(h_i - h_j)\big),
        \quad \Delta_{ij} = |G_i - G_j| \Big|\frac1{D(\tau_i)} - \frac1{D(\tau_j)}\Big|,
        \quad D(\tau) = \log(1 + \tau)

    where :math:`\tau_i` is the place that the policy gives response i among the list, 1 for the
    largest h, or with `rank_by="labels"` the place that its label gives it, as RankDPO has it. The
    weights have no gradient. Mistakes at the top of the list cost most.

    Args:
        scores: Lists with `utility` (the labels s) and reference scores, nats. Absent responses
            (`valid`) take no part. The exponential gain wants labels of a few units at most.
        beta: KL strength, reward per nat.
        gain: G: :math:`2^s - 1`, or the label itself.
        rank_by: Whose order the discount follows.

    Returns:
        [B] loss per list.

    Raises:
        ObjectiveError: If there are no reference scores or utilities.
        ConfigError: If an option is out of range.

    Curves:
        Has no fixed start: it grows with the differences of labels. It is jagged, since
        weights jump where responses change places.

    Pitfalls:
        With labels on a scale of 100 the exponential gain makes weights of 1e30: rescale them,
        or take the linear gain. Weights follow the policy's own order, so a list that it is
        sure of in the wrong way costs most at its top.

    Source:
        Liu et al. 2024, arXiv:2402.01878 (LiPO-lambda), eq. 8. By labels: Karthik et al. 2024,
        arXiv:2410.18013 (RankDPO), eq. 5 to 7.

    Example:
        >>> graded = Scores(torch.zeros(1, 2), torch.ones(1, 2), reference=torch.zeros(1, 2),
        ...                 utility=torch.tensor([[1.0, 0.0]]))
        >>> lipo(graded)  # |1 - 0| (1 / log 2 - 1 / log 3) log 2
        tensor([0.3691])
    """
    score, utility, valid = beta * scores.log_ratio, cast(Tensor, scores.utility), present(scores)
    gains = torch.exp2(utility) - 1 if gain == "exponential" else utility
    by = score.detach() if rank_by == "policy" else utility
    place = (by[:, None, :] > by[:, :, None]) & valid[:, None, :]
    earlier = torch.ones_like(place[0]).tril(-1)  # equal scores keep the order of the list
    equal = (by[:, None, :] == by[:, :, None]) & valid[:, None, :]
    rank = 1 + (place | (equal & earlier)).sum(2)
    discount = 1 / torch.log1p(rank.to(score.dtype))
    pairs = valid[:, :, None] & valid[:, None, :] & (utility[:, :, None] > utility[:, None, :])
    weight = (gains[:, :, None] - gains[:, None, :]).abs()
    weight = weight * (discount[:, :, None] - discount[:, None, :]).abs()
    loss = torch.where(pairs, weight, 0.0) * logistic(_ahead(score, pairs))
    return torch.where(pairs, loss, 0.0).sum((1, 2))


def _pairs(scores: Scores) -> Tensor:
    """Return [B, K, K], true at (i, j) where both are present and i stands before j."""
    valid = present(scores)
    return (valid[:, :, None] & valid[:, None, :]).triu(1)


def _ahead(score: Tensor, pairs: Tensor) -> Tensor:
    """Return [B, K, K] how far i is ahead of j; 0 where they are no pair."""
    return torch.where(pairs, score[:, :, None] - score[:, None, :], 0.0)
