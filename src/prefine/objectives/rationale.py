"""The likelihood of the reason for a preference: a term beside a pair loss."""

from torch import Tensor

from prefine.objectives.declare import Options, objective
from prefine.objectives.links import logistic, per_unit
from prefine.objectives.options import Strength
from prefine.scores import Scores


def _formula(options: Options) -> str:
    return "-log sigma({gamma} l)" if options["summed"] else "-{gamma} l / n"


@objective("point", formula=_formula)
def rationale_likelihood(scores: Scores, *, gamma: Strength = 0.5, summed: bool = False) -> Tensor:
    r"""Imitate the reason why one response was preferred to another.

    The response of this term is the reason r, and its prompt holds the request, both responses in
    random order, and which of them was preferred:

    .. math:: \ell = -\gamma\,\frac{\log\pi(r | x, y_w \succ y_l)}{|r|}

    Args:
        scores: Points, nats, with lengths: the reasons.
        gamma: Weight of the term.
        summed: The published form, :math:`-\log\sigma(\gamma\log\pi(r))`, which is about gamma
            times the negative log-likelihood of the whole reason, as large as it is long.

    Returns:
        [B] loss per reason, nats.

    Raises:
        ObjectiveError: If a row holds more than one response.
        ConfigError: If an option is out of range.

    Curves:
        As `sft` on reasons, times gamma. The preference's own curves are those of its objective.

    Pitfalls:
        With `summed`, the usual gamma of 0.1 lets long reasons swamp the preference; 0.001 is what
        its authors use on the command line.

    Source:
        Just et al. 2024, arXiv:2407.14477 (RDPO, RORPO). The mean is ours; `summed` is their code.

    Example:
        >>> import torch
        >>> rationale_likelihood(Scores(torch.tensor([[-6.0]]), torch.tensor([[4.0]])))  # 0.5 x 1.5
        tensor([0.7500])
    """
    if summed:
        return logistic(gamma * scores.policy[:, 0])
    return -gamma * per_unit(scores, scores.policy)[:, 0]
