"""Losses made of losses; each returns [B] and declares the union of what its parts consume."""

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce

import torch
from torch import Tensor

from prefine.errors import ObjectiveError
from prefine.objectives.declare import Loss, Options, Spec, name_of, spec
from prefine.objectives.transforms import declared, refuse_stateful, transformed
from prefine.scores import Needs, Scores


def weighted_sum(losses: Sequence[Loss], weights: Sequence[float]) -> Loss:
    """Return the weighted sum of losses on the same rows.

    Terms over other items of a row, or with a denominator of their own, are `prefine.scores.Term`s.

    Args:
        losses: Objectives with their options bound, all on the same data.
        weights: One factor each.

    Raises:
        ObjectiveError: If the losses differ in their data or in what a row weighs, one of them is
            stateful, or the numbers of losses and weights differ.

    Example:
        >>> from prefine.objectives import dpo, sft
        >>> rpo = weighted_sum([dpo, on_chosen(sft)], [1.0, 0.1])
        >>> pair = Scores(torch.tensor([[-1.0, -3.0]]), torch.ones(1, 2),
        ...               reference=torch.tensor([[-2.0, -4.0]]))
        >>> rpo(pair)  # log 2 + 0.1
        tensor([0.7931])
    """
    if not losses or len(losses) != len(weights):
        raise ObjectiveError(
            f"weighted_sum: {len(losses)} losses and {len(weights)} weights. Give one weight each."
        )
    for loss in losses:
        refuse_stateful(loss, "weighted_sum")
    specs = [spec(loss) for loss in losses]
    if len({(s.data, s.per) for s in specs}) > 1:
        each = ", ".join(
            f"{name_of(loss)} ({s.data}, per {s.per})"
            for loss, s in zip(losses, specs, strict=True)
        )
        raise ObjectiveError(
            f"weighted_sum: {each} do not share their rows and denominator, so their sum has no "
            "meaning. Use on_chosen for a point loss on pairs, or make them separate terms."
        )

    def total(scores: Scores) -> Tensor:
        parts = [w * loss(scores) for w, loss in zip(weights, losses, strict=True)]
        return torch.stack(parts).sum(0)

    def declare(_: Options) -> Spec:
        terms = zip(weights, specs, strict=True)
        return Spec(
            specs[0].data,
            reduce(Needs.__or__, [s.needs for s in specs]),
            specs[0].per,
            any(s.coupled for s in specs),
            " + ".join(f"{weight:g} [{s.formula}]" for weight, s in terms),
            next((s.unit for s in specs if s.unit), None),
        )

    return declared(total, declare, "weighted_sum")


def on_chosen(loss: Loss) -> Loss:
    """Return a point loss as a loss on the first response of a pair; rows weigh equally.

    `weighted_sum([dpo, on_chosen(sft)], [1, 0.1])` is DPO with the usual likelihood term.

    Raises:
        ObjectiveError: If `loss` does not take points, or is stateful.

    Example:
        >>> from prefine.objectives import sft
        >>> on_chosen(sft)(Scores(torch.tensor([[-6.0, -1.0]]), torch.tensor([[4.0, 1.0]])))
        tensor([1.5000])
    """
    _require_data(loss, "on_chosen", "point")

    def first(scores: Scores) -> Scores:
        return scores.take(torch.zeros_like(scores.policy[:, :1], dtype=torch.long))

    def declare(inner: Spec) -> Spec:
        formula = f"{inner.formula}, of the chosen response"
        return replace(inner, data="pair", per="row", formula=formula)

    return transformed(loss, first, declare, name="on_chosen")


def over_pairs(loss: Loss) -> Loss:
    """Return the mean of a pair loss over all ordered pairs of a list.

    A pair in which a response is absent, or both have the same utility, has no order and is left
    out; a list without an ordered pair costs 0. What a row says of a single pair (`prob`, `tie`,
    `margin`) has no meaning for a list and is not read.

    Raises:
        ObjectiveError: If `loss` does not take pairs, or is stateful or coupled.

    Example:
        >>> from functools import partial
        >>> from prefine.objectives import bradley_terry
        >>> ranking = Scores(torch.tensor([[2.0, 1.0, 0.0]]), torch.ones(1, 3))
        >>> over_pairs(bradley_terry)(ranking)  # (2 x 0.3133 + 0.1269) / 3
        tensor([0.2512])
    """
    _require_data(loss, "over_pairs", "pair")
    refuse_stateful(loss, "over_pairs")
    if spec(loss).coupled:
        raise ObjectiveError(f"over_pairs cannot hold {name_of(loss)}, which couples its rows.")

    def every(scores: Scores, **options: object) -> Tensor:
        rows, count = scores.policy.shape
        first, second = torch.triu_indices(count, count, 1, device=scores.policy.device)
        at = torch.arange(rows, device=first.device).repeat_interleave(len(first))
        pairs = torch.stack([first, second], 1).repeat(rows, 1)
        of_pairs = replace(scores, prob=None, tie=None, margin=None).rows(at).take(pairs)
        losses = loss(of_pairs, **options).view(rows, -1)
        is_ordered = torch.ones_like(losses, dtype=torch.bool)
        if scores.valid is not None:
            is_ordered = scores.valid[:, first] & scores.valid[:, second]
        if scores.utility is not None:
            is_ordered = is_ordered & (scores.utility[:, first] != scores.utility[:, second])
        return torch.where(is_ordered, losses, 0.0).sum(1) / is_ordered.sum(1).clamp(min=1)

    def declare(options: Options) -> Spec:
        inner = spec(loss, **options)
        of_pair = frozenset({"prob", "tie", "margin"})
        needs = replace(
            inner.needs,
            fields=inner.needs.fields - of_pair | {"utility"},
            required=inner.needs.required - of_pair,
        )
        formula = f"mean over ordered pairs of [{inner.formula}]"
        return replace(inner, data="list", needs=needs, formula=formula)

    return declared(every, declare, f"over_pairs({name_of(loss)})")


def contrast(loss: Loss, matrix: Sequence[Sequence[float]]) -> Loss:
    """Return a loss on linear combinations of the K scores of a row, such as a sum of margins.

    Args:
        loss: An objective that takes as many responses as `matrix` has rows.
        matrix: [K', K] coefficients; policy, reference and other models go through the same ones.

    Raises:
        ObjectiveError: If `loss` is stateful, the matrix is ragged or empty, or, when called, a row
            lacks a response or does not hold K of them.

    Example:
        >>> from prefine.objectives import bradley_terry
        >>> summed = contrast(bradley_terry, [[1, 0, 1, 0], [0, 1, 0, 1]])
        >>> summed(Scores(torch.tensor([[1.0, 0.0, 2.0, 1.0]]), torch.ones(1, 4)))  # sigma(1 + 1)
        tensor([0.1269])
    """
    if not matrix or not matrix[0] or len({len(row) for row in matrix}) > 1:
        raise ObjectiveError("contrast: the matrix must have rows of one positive length.")
    width = len(matrix[0])

    def change(scores: Scores) -> Scores:
        if scores.valid is not None or scores.policy.shape[1] != width:
            raise ObjectiveError(
                f"contrast combines {width} responses of each row, but rows hold "
                f"{scores.policy.shape[1]}, or some are absent, which would count as 0 nats. "
                "Take a view whose rows have them all, or a term by roles."
            )

        def combine(values: Tensor) -> Tensor:
            # Not `@`, which automatic mixed precision would take in half precision.
            return (values[:, None, :] * values.new_tensor(matrix)).sum(-1)

        return scores.map_responses(combine)

    def declare(inner: Spec) -> Spec:
        rows = "; ".join(" ".join(f"{value:g}" for value in row) for row in matrix)
        formula = f"{inner.formula}, of the scores times [{rows}]"
        return replace(inner, data="list", formula=formula)

    return transformed(loss, change, declare, name="contrast")


def _require_data(loss: Loss, name: str, data: str) -> None:
    found = spec(loss).data
    if found != data:
        raise ObjectiveError(f"{name} takes a {data} loss, but {name_of(loss)} is a {found} loss.")
