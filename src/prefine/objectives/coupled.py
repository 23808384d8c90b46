"""Losses whose rows depend on each other."""

from typing import cast

import torch
from torch import Tensor

from prefine.objectives.declare import Options, objective
from prefine.objectives.links import expected, gap, logistic
from prefine.objectives.options import LabelNoise, Strength
from prefine.scores import Needs, Scores


def _formula(options: Options) -> str:
    paired = "d = sort(l_w - l_l) - sort(the same under the reference)"
    delta = paired if options["paired"] else "d = sort(h_w) - sort(h_l)"
    loss = "-log sigma({beta} d)"
    if options["label_noise"]:
        loss = "-(1 - {label_noise}) log sigma({beta} d) - {label_noise} log sigma(-{beta} d)"
    return f"{loss}, {delta}, sorted over the batch"


@objective("pair", needs=Needs(reference=True), coupled=True, formula=_formula)
def aot(
    scores: Scores, *, beta: Strength = 0.1, label_noise: LabelNoise = 0.0, paired: bool = True
) -> Tensor:
    r"""Logistic loss on sorted margins: chosen rewards dominate rejected ones as a distribution.

    Optimal transport in one dimension is sorting, so the i-th smallest value of one side is
    compared with the i-th smallest of the other:

    .. math:: \delta = \begin{cases}
        \mathrm{sort}(\log\pi_w - \log\pi_l) - \mathrm{sort}(\log\pi_{ref,w} - \log\pi_{ref,l})
            & \text{paired} \\
        \mathrm{sort}(h_w) - \mathrm{sort}(h_l) & \text{unpaired}\end{cases}

    .. math:: \ell = -(1-\epsilon)\log\sigma(\beta\delta) - \epsilon\log\sigma(-\beta\delta)

    Element i of the result belongs to the i-th rank, not to row i; rows must therefore have equal
    weights (the trainer sees to it) and the batch is the whole optimizer step. For a batch of one
    row this is `dpo`.

    Args:
        scores: Pairs with reference scores, nats.
        beta: KL strength, reward per nat.
        label_noise: Probability epsilon in [0, 0.5) that a comparison is flipped.
        paired: Compare the policy's margins with the reference's; otherwise chosen with rejected
            rewards, for which the responses of a row need not share a prompt.

    Returns:
        [B] loss per rank, nats.

    Raises:
        ObjectiveError: If there are no reference scores, or a row does not hold two responses.
        ConfigError: If an option is out of range.

    Curves:
        Starts at 0.693. `rewards/margins` rises as a mean; single pairs may stay where they
        are, so `rewards/accuracies` rises later than under `dpo`.

    Pitfalls:
        Rows are sorted within a step, so small steps know little of either distribution,
        and a row's weight has no meaning: unequal weights are refused.

    Source:
        Melnyk et al. 2024, arXiv:2406.05882, section 3.

    Example:
        >>> pairs = Scores(torch.tensor([[-1.0, -3.0], [-2.0, -2.0]]), torch.ones(2, 2),
        ...                reference=torch.tensor([[-2.0, -2.0], [-1.0, -3.0]]))
        >>> aot(pairs)  # both sides hold the margins 0 and 2: nothing is left to do
        tensor([0.6931, 0.6931])
    """
    ratio = scores.log_ratio  # raises where there is no reference
    if paired:
        reference = gap(cast(Tensor, scores.reference))
        delta = gap(scores.policy).sort(0).values - reference.sort(0).values
    else:
        delta = gap(ratio.sort(0).values)
    logit = beta * delta
    q = torch.full_like(logit, 1 - label_noise) if label_noise else None
    return expected(logistic(logit), logistic(-logit), q)
