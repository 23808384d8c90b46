"""What every preference run shows, as weighted sums that add up over micro-batches and ranks.

Names follow TRL where TRL has one. Ties count half in accuracies. `rewards/*` is the implicit
reward beta (log pi - log pi_ref), or the reward itself for a reward model, or beta log pi where
there is no reference.
"""

import inspect
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from prefine.scores import Scores

Sums = dict[str, Tensor]

_MOMENTS = "length_correlation"

ERRORS = ("-mse/2", "-sse/2")
"""Units of denoising models."""


class RowSums:
    """Weighted sums over the rows of one micro-batch.

    Args:
        weight: [B] weight of each row.
    """

    def __init__(self, weight: Tensor) -> None:
        self.weight, self.sums = weight, Sums()

    def add(self, name: str, value: Tensor, where: Tensor | None = None) -> None:
        """Add [B] values, over the rows where `where` is true."""
        weight = self.weight if where is None else self.weight * where
        value = torch.where(weight > 0, value.detach().double(), 0.0)
        self.sums[name] = torch.stack([(weight * value).sum(), weight.sum()])

    def correlate(self, name: str, x: Tensor, y: Tensor, where: Tensor) -> None:
        """Keep the moments of two [B] values, from which their correlation follows."""
        weight = self.weight * where
        x = torch.where(weight > 0, x.detach().double(), 0.0)
        y = torch.where(weight > 0, y.detach().double(), 0.0)
        products = (torch.ones_like(x), x, y, x * x, y * y, x * y)
        self.sums[name] = torch.stack([(weight * product).sum() for product in products])


def metric_sums(scores: Scores, loss: Tensor, *, beta: float, unit: str) -> Sums:
    """Return `{name: [2] (weighted sum, weight)}` for the rows of a micro-batch.

    Args:
        scores: Scores of B rows; rows of weight 0 count nothing.
        loss: [B] loss of each row.
        beta: Factor of the implicit reward.
        unit: `"nats"`, `"reward"`, or minus half a squared error.
    """
    ones = torch.ones(len(loss), dtype=torch.float64, device=loss.device)
    rows = RowSums(ones if scores.weight is None else scores.weight.double())
    rows.add("loss", loss)
    if "degree" in scores.columns and scores.vector is not None:
        _add_degrees(rows, scores)
        return rows.sums
    if unit == "nats":
        _add_likelihood(rows, scores)
    elif unit in ERRORS:
        _add_errors(rows, scores)
    reward = _reward(scores, beta, unit).detach()
    if scores.policy.shape[1] > 1:
        _add_pair(rows, scores, reward, unit)
    elif scores.label is not None:
        good = scores.label[:, 0].bool()
        rows.add("rewards/chosen", reward[:, 0], good)
        rows.add("rewards/rejected", reward[:, 0], ~good)
    return rows.sums


def _add_likelihood(rows: RowSums, scores: Scores) -> None:
    policy, present = scores.policy.detach(), _present(scores)
    count = present.sum(1).clamp(min=1)
    per_token = torch.where(present, policy / scores.length.clamp(min=1), 0.0)
    rows.add("logps/mean_token", per_token.sum(1) / count)
    for name in {"entropy", "top_entropy", "top_mass", "delay"} & scores.elements.keys():
        mask = scores.elements["mask"]
        total = (scores.elements[name] * mask).flatten(1).sum(1)
        rows.add(name, total / mask.flatten(1).sum(1).clamp(min=1))
    if scores.reference is not None:
        gap = torch.where(present, scores.reference - policy, 0.0)
        rows.add("kl_reference", gap.sum(1) / count)


def _add_degrees(rows: RowSums, scores: Scores) -> None:
    """How often the likeliest degree is the right one; damaged versions have no margin."""
    assert scores.vector is not None
    right = scores.vector.argmax(-1) == scores.columns["degree"]
    rows.add("accuracy", _mean(right.double(), _present(scores)))


def _add_errors(rows: RowSums, scores: Scores) -> None:
    """Squared errors, of both roles: a margin may grow while both get worse."""
    present = _present(scores)
    error = -2 * scores.policy.detach()
    rows.add("errors/mean", _mean(error, present))
    if scores.reference is not None:
        rows.add("errors/reference", _mean(-2 * scores.reference, present))
    if scores.policy.shape[1] == 2:
        rows.add("errors/chosen", error[:, 0], present[:, 0])
        rows.add("errors/rejected", error[:, 1], present[:, 1])


def _mean(values: Tensor, present: Tensor) -> Tensor:
    """[B] mean over the responses that are there."""
    return torch.where(present, values, 0.0).sum(1) / present.sum(1).clamp(min=1)


def _add_pair(rows: RowSums, scores: Scores, reward: Tensor, unit: str) -> None:
    present = _present(scores)
    both = present[:, 0] & present[:, 1]
    decided = both if scores.tie is None else both & ~scores.tie
    margin = reward[:, 0] - reward[:, 1]
    rows.add("rewards/chosen", reward[:, 0], both)
    rows.add("rewards/rejected", reward[:, 1], both)
    rows.add("rewards/margins", margin, both)
    if unit in ERRORS:  # healthy below about 5; a beta far too large shows here
        rows.add("rewards/margins_squared", margin.square(), both)
    rows.add("rewards/accuracies", _half(margin), decided)
    longer = scores.length[:, 0] - scores.length[:, 1]
    rows.correlate(_MOMENTS, longer, margin, both)
    if unit == "reward":
        return
    policy = scores.policy.detach()
    if unit == "nats":
        rows.add("logps/chosen", policy[:, 0], both)
        rows.add("logps/rejected", policy[:, 1], both)
        rows.add("ranking_accuracy", _half(policy[:, 0] - policy[:, 1]), decided)
    if scores.reference is not None:
        ratio = scores.log_ratio
        rows.add("log_ratio/chosen", ratio[:, 0], both)
        rows.add("log_ratio/rejected", ratio[:, 1], both)


def _present(scores: Scores) -> Tensor:
    if scores.valid is None:
        return torch.ones_like(scores.policy, dtype=torch.bool)
    return scores.valid


def _reward(scores: Scores, beta: float, unit: str) -> Tensor:
    if unit == "reward":
        return scores.policy
    return beta * (scores.policy if scores.reference is None else scores.log_ratio)


def _half(gap: Tensor) -> Tensor:
    return (gap > 0).double() + 0.5 * (gap == 0).double()


def add_sums(total: Sums, more: Mapping[str, Tensor]) -> None:
    """Add `more` into `total`."""
    for name, value in more.items():
        total[name] = total[name] + value if name in total else value


def finish(sums: Mapping[str, Tensor]) -> dict[str, float]:
    """Turn sums into means (and moments into a correlation); what has no weight is left out."""
    values: dict[str, float] = {}
    for name, parts in sorted(sums.items()):
        if len(parts) == 2:
            value = float(parts[0] / parts[1]) if float(parts[1]) > 0 else None
        else:
            value = _correlation(parts)
        if value is not None:
            values[name] = value
    return values


def _correlation(moments: Tensor) -> float | None:
    n, x, y, xx, yy, xy = moments.tolist()
    if n <= 0:
        return None
    var_x, var_y = xx / n - (x / n) ** 2, yy / n - (y / n) ** 2
    if var_x <= 1e-12 or var_y <= 1e-12:
        return None
    return (xy / n - x / n * y / n) / (var_x * var_y) ** 0.5


def beta_of(objective: Any) -> float:
    """The factor of the implicit reward: the objective's own beta, 1 where it has none."""
    if isinstance(objective, partial):
        return float(objective.keywords.get("beta", beta_of(objective.func)))
    options = getattr(objective, "options", {})
    if "beta" in options:
        return float(options["beta"])
    inner = getattr(objective, "loss", None)
    if inner is not None:
        return beta_of(inner)
    beta = inspect.signature(objective).parameters.get("beta")
    return 1.0 if beta is None else float(beta.default)
