"""Losses on the likelihood of single responses."""

from torch import Tensor

from prefine.objectives.declare import objective
from prefine.objectives.links import per_unit
from prefine.scores import Scores


@objective("point", per="unit", formula="-l / n")
def sft(scores: Scores) -> Tensor:
    r"""Negative log-likelihood: imitate the response.

    .. math:: \ell = -\log\pi(y|x) / n

    It is declared `per="unit"`: the trainer multiplies a row's weight by its n scored units, so the
    total is the sum of -log pi over the sum of n. Each token counts the same, whatever the batch.

    Args:
        scores: Points, nats, with lengths.

    Returns:
        [B] mean negative log-likelihood of a response, nats per unit; 0 for an empty response.

    Raises:
        ObjectiveError: If a row holds more than one response.

    Curves:
        Has no fixed start: the negative log-likelihood per token of the data under the
        model. Held-out loss that turns up means the second epoch was too many.

    Pitfalls:
        It imitates every response it is given, bad ones too: pass only what should be
        imitated.

    Source:
        Maximum likelihood; as a stage of alignment: Ouyang et al. 2022, arXiv:2203.02155, sec. 3.

    Example:
        >>> import torch
        >>> sft(Scores(torch.tensor([[-6.0]]), torch.tensor([[4.0]])))
        tensor([1.5000])
    """
    return -per_unit(scores, scores.policy)[:, 0]
