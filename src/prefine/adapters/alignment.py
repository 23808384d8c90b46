"""Which tokens of two responses are the same, and which were edited: Needleman-Wunsch."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prefine.errors import ObjectiveError

SAME, OTHER, GAP = 1, -1, -1
"""Gain of two equal tokens, of two that differ, and of a token without a partner."""

Ids = Sequence[int] | NDArray[np.integer]
Flags = NDArray[np.bool_]


def edited(one: Ids, other: Ids) -> tuple[Flags, Flags]:
    """Return which tokens of two responses have no equal partner in their best alignment.

    Of alignments of equal gain the one is taken that pairs the tokens at the end. Time and memory
    grow with the product of the lengths, at a byte a cell.

    Args:
        one: [M] token ids.
        other: [N] token ids.

    Returns:
        [M] and [N]: True where a token was deleted, inserted or substituted.

    Example:
        >>> edited([7, 1, 2, 3], [7, 1, 9, 3, 4])
        (array([False, False,  True, False]), array([False, False,  True, False,  True]))
    """
    a, b = np.asarray(one), np.asarray(other)
    changed = np.ones(len(a), np.bool_), np.ones(len(b), np.bool_)
    paired = _paired(a, b)
    i, j = len(a), len(b)
    while i and j:
        step = paired[i - 1, j - 1]
        if step == DIAGONAL:
            i, j = i - 1, j - 1
            changed[0][i] = changed[1][j] = a[i] != b[j]
        elif step == UP:
            i -= 1
        else:
            j -= 1
    return changed


DIAGONAL, UP, LEFT = 0, 1, 2


def _paired(a: NDArray[np.integer], b: NDArray[np.integer]) -> NDArray[np.uint8]:
    """[M, N] where the best alignment of each two beginnings comes from."""
    steps = np.empty((len(a), len(b)), np.uint8)
    fall = GAP * np.arange(len(b) + 1)
    above = fall.copy()
    for i in range(len(a)):
        diagonal = above[:-1] + np.where(b == a[i], SAME, OTHER)
        best = np.concatenate([[above[0] + GAP], np.maximum(diagonal, above[1:] + GAP)])
        # A gap in `a` comes from the left: the best over all cells there, less their distance.
        row = np.maximum.accumulate(best - fall) + fall
        steps[i] = np.select(
            [row[1:] == diagonal, row[1:] == above[1:] + GAP], [DIAGONAL, UP], LEFT
        )
        above = row
    return steps


def edited_tokens(index: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
    """Return which scored tokens of a batch's pairs were edited.

    Args:
        index: [B, 2] the items of each pair; -1 where one is absent, which leaves it without edits.
        tokens: [N, L] token ids of the items.
        mask: [N, L] which are scored.

    Returns:
        [N, L] 1 where a token is not in the other response of its pair, else 0; float32.

    Raises:
        ObjectiveError: If rows do not hold two responses.
    """
    if index.shape[1] != 2:
        raise ObjectiveError(
            f"Edits are found between two responses, but a row holds {index.shape[1]}. Make pairs "
            "of the records."
        )
    ids = [row[kept].numpy() for row, kept in zip(tokens.cpu(), mask.cpu(), strict=True)]
    found = torch.zeros(mask.shape, dtype=torch.float32)
    for pair in index.tolist():
        if min(pair) < 0:
            continue
        for item, flags in zip(pair, edited(*(ids[item] for item in pair)), strict=True):
            found[item, mask[item].cpu()] = torch.from_numpy(flags).float()
    return found.to(mask.device)
