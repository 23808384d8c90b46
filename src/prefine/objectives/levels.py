"""Losses over pairs and over pairs of margins."""

import torch
from torch import Tensor

from prefine.errors import ObjectiveError
from prefine.objectives.declare import objective
from prefine.objectives.links import logistic
from prefine.objectives.options import Strength
from prefine.scores import Needs, Scores


@objective(
    "list",
    needs=Needs(reference=True, roles=frozenset({"margins"})),
    formula="-log sigma({beta} (h_1 - h_2)), less h_3 - h_4 inside where a row holds a second pair",
)
def margin_dpo(scores: Scores, *, beta: Strength = 0.1) -> Tensor:
    r"""DPO over pairs, and over margins of which the first must be the larger.

    .. math:: \ell = -\log\sigma\big(\beta\,(h_1 - h_2)\big) \quad\text{or}\quad
        -\log\sigma\big(\beta\,[(h_1 - h_2) - (h_3 - h_4)]\big)

    A row of two responses is a pair; they may be one response under two prompts. A row of four
    holds two pairs, usually the same responses under two prompts, the one with the larger margin
    first. `rows.instructions` makes both kinds of a set of pairs; the preset `mapl` asks for them.

    Args:
        scores: Rows of two or four responses with reference scores, nats.
        beta: KL strength, reward per nat.

    Returns:
        [B] loss per row, nats.

    Raises:
        ObjectiveError: If there are no reference scores, or rows hold neither two nor four.
        ConfigError: If an option is out of range.

    Curves:
        Starts at 0.693. `rewards/margins` is that of the first pair of each row, so it mixes
        responses with prompts; look at `best_is_first` of the held-out pairs for preferences.

    Pitfalls:
        Under two prompts the normalising constants of the optimum do not cancel: log Z of one
        less log Z of the other stays in the margin, so for a policy this is a heuristic. A prompt
        that is cut may lose the instruction that told two prompts apart.

    Source:
        MAPL, arXiv:2505.12845, in its DPO form; the sum of three terms is a sum over rows here,
        whose weights are the paper's lambdas. The form for margins is inferred from the abstract.

    Example:
        >>> rows = Scores(torch.tensor([[3.0, 1.0, 0.0, 0.0], [3.0, 1.0, 2.0, 1.0]]),
        ...               torch.ones(2, 4), reference=torch.zeros(2, 4),
        ...               valid=torch.tensor([[True, True, False, False], [True] * 4]))
        >>> margin_dpo(rows, beta=1.0)  # sigma(2), sigma(2 - 1)
        tensor([0.1269, 0.3133])
    """
    return logistic(beta * _lead("margin_dpo", scores, scores.log_ratio))


@objective(
    "list",
    needs=Needs(roles=frozenset({"margins"})),
    formula="-log sigma(r_1 - r_2), less r_3 - r_4 inside where a row holds a second pair",
    unit="reward",
)
def margin_reward(scores: Scores) -> Tensor:
    r"""Bradley-Terry over pairs of rewards, and over margins of which the first must be the larger.

    .. math:: \ell = -\log\sigma(r_1 - r_2) \quad\text{or}\quad
        -\log\sigma\big((r_1 - r_2) - (r_3 - r_4)\big)

    Rows are those of `margin_dpo`: a pair, one response under two prompts, or two pairs of which
    the one with the larger margin comes first. The preset `mapl_reward` makes all three.

    Args:
        scores: Rows of two or four responses; `policy` holds rewards.

    Returns:
        [B] loss per row, nats.

    Raises:
        ObjectiveError: If rows hold neither two nor four responses.

    Curves:
        Starts near 0.693 with a new head. `rewards/margins` is that of the first pair of each row,
        so it mixes responses with prompts; `accuracy` of the held-out pairs is of preferences.

    Pitfalls:
        Bradley-Terry leaves a constant free for each prompt; a response under two prompts ties
        those of the two, so a reward trained with `intra` rows says of prompts, too, how easily
        they are obeyed. A prompt that is cut may lose the instruction that told two apart.

    Source:
        MAPL, arXiv:2505.12845, in its form for reward models, which is exact: no normalising
        constant stands between two prompts. The form for margins is inferred from the abstract.

    Example:
        >>> rows = Scores(torch.tensor([[3.0, 1.0, 0.0, 0.0], [3.0, 1.0, 2.0, 1.0]]),
        ...               torch.ones(2, 4),
        ...               valid=torch.tensor([[True, True, False, False], [True] * 4]))
        >>> margin_reward(rows)  # sigma(2), sigma(2 - 1)
        tensor([0.1269, 0.3133])
    """
    return logistic(_lead("margin_reward", scores, scores.policy))


def _lead(name: str, scores: Scores, values: Tensor) -> Tensor:
    """[B] the margin of a row's first pair, less that of the second where there is one."""
    count = values.shape[1]
    if count not in (2, 4):
        raise ObjectiveError(
            f"{name} takes a pair, or two pairs whose margins are compared, but a row holds "
            f"{count} responses. Make the rows with rows.instructions, or use plackett_luce."
        )
    margin = values[:, 0] - values[:, 1]
    if count == 2:
        return margin
    second = values[:, 2] - values[:, 3]
    if scores.valid is not None:
        second = torch.where(scores.valid[:, 2:].all(1), second, 0.0)
    return margin - second
