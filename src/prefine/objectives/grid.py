"""Responses to the same request under several instructions, each scored under all of them."""

import math

from torch import Tensor

from prefine.errors import ObjectiveError
from prefine.objectives.declare import objective
from prefine.objectives.links import per_unit
from prefine.scores import Needs, Scores, Term


@objective(
    "list",
    needs=Needs(roles=frozenset({"grid"})),
    formula="-1/2 mean over i of [log softmax over j of S_ij + log softmax over j of S_ji] at "
    "j = i, S_ij = lbar of response j under instruction i",
)
def grid_contrast(scores: Scores) -> Tensor:
    r"""Contrast, both ways, of C responses and the C instructions that they were written under.

    With :math:`S_{ij}` the mean log-probability of a token of response j under instruction i,

    .. math:: \ell = -\frac{1}{2C}\sum_i \Big[\log\frac{e^{S_{ii}}}{\sum_j e^{S_{ij}}}
        + \log\frac{e^{S_{ii}}}{\sum_j e^{S_{ji}}}\Big]

    :math:`\log C - \ell` is a lower bound on the mutual information of instruction and response.
    It says nothing of which is right: responses must follow their instruction a little to begin
    with.

    Args:
        scores: Grids: response `i * C + j` of a row is response j under instruction i, nats. The
            trainer makes them of records with the tags `grid` and `instruction`; see `grid_term`
            for rows of one's own.

    Returns:
        [B] loss per grid, nats.

    Raises:
        ObjectiveError: If the number of scores of a row is not a square of 2 or more, or one is
            absent.

    Curves:
        Starts near log C. As it falls, each response becomes likelier under its own instruction,
        or less likely under others.

    Pitfalls:
        Where the model does not follow instructions at all, it learns to tell them apart in
        directions of chance.

    Source:
        Fränken et al. 2024 (SAMI), arXiv:2404.14313.

    Example:
        >>> import torch
        >>> grid = Scores(torch.tensor([[-1.0, -3.0, -2.0, -2.0]]), torch.ones(1, 4))
        >>> grid_contrast(grid)  # log(1 + e^-2), log 2; log(1 + e^-1), log(1 + e^-1)
        tensor([0.3616])
    """
    count = scores.policy.shape[1]
    side = math.isqrt(count)
    if side * side != count or side < 2 or not (scores.valid is None or bool(scores.valid.all())):
        raise ObjectiveError(
            f"grid_contrast takes whole grids, C responses under C instructions with C of 2 or "
            f"more, but a row holds {count} scores or lacks one of them. Make the rows with "
            "`prefine.recipes.sami.grid_view`."
        )
    grid = per_unit(scores, scores.policy).view(-1, side, side)
    own = grid.diagonal(dim1=1, dim2=2)
    each = (grid.logsumexp(2) - own) + (grid.logsumexp(1) - own)
    return each.mean(1) / 2


def cell_role(instruction: int, response: int) -> str:
    """Return the role of a response under an instruction in a row of a grid."""
    return f"cell_{instruction}_{response}"


def grid_term(instructions: int) -> Term:
    """Return the term that reads grids of so many instructions, for a trainer.

    Example:
        >>> grid_term(2).roles
        ('cell_0_0', 'cell_0_1', 'cell_1_0', 'cell_1_1')
    """
    places = range(instructions)
    return Term("grid", grid_contrast, tuple(cell_role(i, j) for i in places for j in places))
