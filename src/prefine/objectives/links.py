"""The pieces that losses share: contrast, link, soft label, length."""

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from prefine.scores import Scores


def gap(values: Tensor) -> Tensor:
    """Return [B] the first response's value minus the second's, from [B, 2].

    Example:
        >>> gap(torch.tensor([[3.0, 1.0]]))
        tensor([2.])
    """
    return values[:, 0] - values[:, 1]


def logistic(logit: Tensor) -> Tensor:
    """Return -log sigma(logit) in nats, finite for every finite logit.

    Example:
        >>> logistic(torch.tensor([0.0, -1e4]))
        tensor([6.9315e-01, 1.0000e+04])
    """
    return -F.logsigmoid(logit)


def log1mexp(x: Tensor) -> Tensor:
    """Return log(1 - e^x) for x < 0 without cancellation at either end.

    Example:
        >>> log1mexp(torch.tensor([0.25]).log())  # log 0.75
        tensor([-0.2877])
    """
    near = x > -math.log(2)
    by_expm1 = (-torch.where(near, x, -1.0).expm1()).log()
    by_exp = torch.log1p(-torch.where(near, -1.0, x).exp())
    return torch.where(near, by_expm1, by_exp)


def per_unit(scores: Scores, values: Tensor) -> Tensor:
    """Return [B, K] values divided by scored units; an empty response counts as one unit."""
    return values / scores.length.clamp(min=1)


def present(scores: Scores) -> Tensor:
    """Return [B, K] true where a response is there; all of them if `valid` is None."""
    if scores.valid is None:
        return torch.ones_like(scores.policy, dtype=torch.bool)
    return scores.valid


def soft_label(scores: Scores, label_noise: float = 0.0) -> Tensor | None:
    r"""Return [B] the probability that response 0 is the better one; None if all labels are hard.

    With the row's soft label p (1 where it has none, stored as NaN) and flip probability e it is
    p (1 - e) + (1 - p) e.

    Example:
        >>> pair = torch.zeros(2, 2)
        >>> soft_label(Scores(pair, pair, prob=torch.tensor([0.75, torch.nan])), 0.1)
        tensor([0.7000, 0.9000])
    """
    if scores.prob is None:
        return None if label_noise == 0 else torch.full_like(scores.policy[:, 0], 1 - label_noise)
    p = torch.where(scores.prob.isnan(), 1.0, scores.prob)
    return p * (1 - label_noise) + (1 - p) * label_noise


def label_text(options: Mapping[str, object]) -> str:
    """Return the text of q for a formula: what `soft_label` returns with these options."""
    noise = "{label_noise}"
    return f"q = p (1 - {noise}) + (1 - p) {noise}" if options["label_noise"] else "q = p"


def expected(first: Tensor, second: Tensor, q: Tensor | None) -> Tensor:
    """Return [B] the loss expected when response 0 is better with probability q.

    Args:
        first: [B] loss if response 0 is the better one.
        second: [B] loss if response 1 is.
        q: [B] probability, or None for certainty.
    """
    return first if q is None else q * first + (1 - q) * second
