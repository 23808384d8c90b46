"""Labels that a policy gives its own samples."""

import torch
from torch import Tensor

from prefine.errors import ConfigError


def both_orders(first: Tensor) -> Tensor:
    """Return [..., K, K] probabilities of preference from those under either order of showing.

    A judge that favours what it is shown first favours each response once.

    Args:
        first: [..., K, K] probability that the judge prefers i where i is shown before j.

    Example:
        >>> both_orders(torch.tensor([[0.5, 0.9], [0.3, 0.5]]))
        tensor([[0.5000, 0.8000],
                [0.2000, 0.5000]])
    """
    return (first + 1 - first.mT) / 2


def ranked_pairs(better: Tensor) -> tuple[Tensor, Tensor]:
    """Return pairs [P, 2] of responses by rank, the better first, with their soft labels [P].

    Responses are ordered by how often they are preferred to the others. Neighbours in that order
    are paired, and the first with all; a judge who contradicts its own order has the last word.

    Args:
        better: [K, K] probability that i is preferred to j; of two responses or more.

    Raises:
        ConfigError: If it is not square, or of a single response.

    Source:
        OSP, arXiv:2405.14103, orders responses by its own judgments; which pairs to take is ours.

    Example:
        >>> wins = torch.tensor([[0.5, 0.3, 0.6], [0.7, 0.5, 0.9], [0.4, 0.1, 0.5]])
        >>> ranked_pairs(wins)
        (tensor([[1, 0],
                [1, 2],
                [0, 2]]), tensor([0.7000, 0.9000, 0.6000]))
    """
    count = better.shape[0]
    if better.shape != (count, count) or count < 2:
        raise ConfigError(f"`better` must be [K, K] with K of 2 or more, got {better.shape}.")
    order = better.mean(1).argsort(descending=True, stable=True)
    ranks = torch.triu_indices(count, count, 1, device=better.device).T
    kept = ranks[(ranks[:, 0] == 0) | (ranks[:, 1] == ranks[:, 0] + 1)]
    pairs = order[kept]
    label = better[pairs[:, 0], pairs[:, 1]]
    turned = (label < 0.5)[:, None]
    return torch.where(turned, pairs.flip(1), pairs), torch.where(turned[:, 0], 1 - label, label)
