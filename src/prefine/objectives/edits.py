"""Losses for pairs in which one response is an edit of the other."""

import math
from typing import Annotated

import torch
from torch import Tensor

from prefine.objectives.declare import objective
from prefine.objectives.links import log1mexp
from prefine.objectives.options import NonNegative, Range
from prefine.scores import Needs, Scores

MOST_CERTAIN = math.log1p(-1e-6)
"""Log-probability above which a token is not pushed further: log(1 - p) has no end there."""


@objective(
    "pair",
    needs=Needs(elements=frozenset({"log_prob", "edited"})),
    formula="-mean of c_t log pi(w_t) - {unlikelihood} mean over edited t of log(1 - pi(l_t)), "
    "c = {edited_weight} where edited, else 1",
)
def salt(
    scores: Scores,
    *,
    edited_weight: Annotated[float, Range(above=0, usual=(1.0, 2.0))] = 1.1,
    unlikelihood: NonNegative = 0.01,
) -> Tensor:
    r"""Likelihood of the chosen response, unlikelihood of the rejected one's edited tokens alone.

    .. math:: \ell = -\frac1{n_w} \sum_t c_t \log\pi(w_t)
        - \lambda\, \frac{1}{|E_l|} \sum_{t \in E_l} \log\big(1 - \pi(l_t)\big)

    E are the tokens that an alignment of the two responses finds in one alone (deleted, inserted)
    or in place of another (substituted); c is `edited_weight` on those of the chosen response and
    1 elsewhere. What both share is never pushed down. Without edits in the rejected response the
    second sum is 0.

    The authors' code normalises log(1 - pi) over the vocabulary before it takes the token's. Its
    sum over V tokens is V - 1 for every pi, so this adds log(V - 1) and changes no gradient.

    Args:
        scores: Pairs with the elements `log_prob`, nats, and `edited`, 1 for edited tokens.
        edited_weight: c of the chosen response's edited tokens.
        unlikelihood: lambda; 0 leaves weighted imitation. The default is the product of the two
            factors of 0.1 in the authors' code.

    Returns:
        [B] loss per pair, nats.

    Raises:
        ObjectiveError: If a row does not hold two responses.
        ConfigError: If an option is out of range.

    Curves:
        Has no fixed start: about the negative log-likelihood per token of the chosen responses.
        `logps/rejected` rises with `logps/chosen`, since most tokens are shared; the margin of
        edited tokens shows in `rewards/margins`.

    Pitfalls:
        It reads edits off the tokens, so pairs that are not edits of each other make nearly
        every token an edit. Above p = 1 - 1e-6 a token gets no gradient. The default weight of
        unlikelihood is small.

    Source:
        SALT in SYNFAC-EDIT, Mishra et al. 2024, arXiv:2402.13919, and the authors' code.

    Example:
        >>> log_prob = torch.tensor([[[0.5, 0.25], [0.5, 0.75]]]).log()
        >>> pair = Scores(log_prob.sum(2), torch.full((1, 2), 2.0), elements={
        ...     "log_prob": log_prob, "mask": torch.ones(1, 2, 2, dtype=torch.bool),
        ...     "edited": torch.tensor([[[0.0, 1.0], [0.0, 1.0]]])})
        >>> salt(pair, unlikelihood=1.0)  # (log 2 + 1.1 log 4) / 2 + log 4
        tensor([2.4953])
    """
    mask = scores.elements["mask"].bool()
    log_prob = torch.where(mask, scores.elements["log_prob"], -1.0)
    edits = torch.where(mask, scores.elements["edited"].to(log_prob), 0.0)
    weight = 1 + (edited_weight - 1) * edits[:, 0]
    said = torch.where(mask[:, 0], weight * log_prob[:, 0], 0.0).sum(1)
    likelihood = said / mask[:, 0].sum(1).clamp(min=1)
    avoided = edits[:, 1] * log1mexp(log_prob[:, 1].clamp(max=MOST_CERTAIN))
    return -likelihood - unlikelihood * avoided.sum(1) / edits[:, 1].sum(1).clamp(min=1)
