"""Losses on the likelihood of single responses."""

from typing import cast

from torch import Tensor

from prefine.objectives.declare import objective
from prefine.objectives.links import logistic, per_unit
from prefine.scores import Needs, Scores


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


@objective(
    "point",
    needs=Needs(fields=frozenset({"utility"}), required=frozenset({"utility"})),
    formula="-log sigma(l / n - s), s = utility",
)
def poft(scores: Scores) -> Tensor:
    r"""Imitates a response until it is likelier than aligned models find it (PoFT).

    With s the mean log-probability per token that other, aligned models give the response, averaged
    over these models,

    .. math:: \ell = -\log\sigma\Big(\frac{\log\pi(y|x)}{n} - s\Big)

    Its gradient is that of `sft` times :math:`\sigma(s - \log\pi(y|x)/n)`: what aligned models find
    unlikely is taken for a bad row and counts less, and so does what is learnt already.

    Args:
        scores: Points, nats, with lengths, and `utility`: s, computed beforehand, each model with
            its own tokenizer and its own number of tokens.

    Returns:
        [B] loss per response, nats.

    Raises:
        ObjectiveError: If there are no utilities, or a row holds more than one response.

    Curves:
        Has no fixed start: about 0.693 where the policy finds its data as likely as the aligned
        models do, and more where it is worse. It falls towards 0 and never gets there.

    Pitfalls:
        Mean log-probabilities lie within a few nats, so a bad row weighs less but not nothing:
        throwing rows away says more. Chat templates of the aligned models must be theirs. On long
        runs it fits bad rows, too: stop early.

    Source:
        Fan et al. 2024, arXiv:2412.12865, eq. 5.

    Example:
        >>> import torch
        >>> row = Scores(torch.tensor([[-6.0]]), torch.tensor([[3.0]]),
        ...              utility=torch.tensor([[-1.0]]))
        >>> poft(row)  # sigma(-2 + 1)
        tensor([1.3133])
    """
    return logistic(per_unit(scores, scores.policy) - cast(Tensor, scores.utility))[:, 0]
