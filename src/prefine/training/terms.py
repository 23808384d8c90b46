"""From a batch and the scores of its items to the rows that one term of an objective reads."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from prefine.errors import ObjectiveError
from prefine.objectives.declare import Loss, Spec, name_of, spec
from prefine.protocols import Batch
from prefine.scores import ItemScores, Needs, Scores, Term, gather


def term_rows(batch: Batch, term: Term, policy: ItemScores, reference: ItemScores | None) -> Scores:
    """Gather the scores of N items into the B rows of a term.

    Args:
        batch: As an adapter lays it out: `index` [B, K], `roles` {name: [B]}, `rows` {name: [B]}.
        term: Its roles say which items of a row it reads.
        policy: Scores of the N items under the policy.
        reference: The same under the reference, or None.

    Returns:
        Scores of [B, K]; what no row of the batch knows is None.
    """
    rows, dtype = batch["rows"], policy.value.dtype

    def known(name: str) -> Tensor | None:
        """None where nothing is known; NaN stays where a single row or response is unknown."""
        values = rows.get(name)
        return None if values is None else values.to(dtype)

    _refuse_unlabelled(batch, term)
    index = _index(batch, term)
    weight = _weight(batch, term, index, policy.length)
    columns: dict[str, Any] = {name: rows[name] for name in ("rater", "principal")}
    columns |= {name: rows[name] for name in rows if name.startswith("column_")}
    if "degree" in batch and "degree" in spec(term.objective).needs.columns:
        columns["degree"] = torch.where(index >= 0, batch["degree"][index.clamp(min=0)], 0)
    if "mismatched_log_ratio" in rows:
        columns["mismatched_log_ratio"] = rows["mismatched_log_ratio"]
    return gather(
        index,
        policy,
        reference,
        whole=set(term.roles or [""]) <= set(batch["complete"]),
        weight=weight,
        prob=known("prob"),
        margin=known("margin"),
        tie=rows.get("tie"),
        utility=known("utility"),
        label=None if "label" not in rows else rows["label"] > 0.5,
        columns=columns,
    )


def _refuse_unlabelled(batch: Batch, term: Term) -> None:
    if batch["unlabelled"] and "label" in spec(term.objective).needs.required:
        raise ObjectiveError(
            f"{term.name} needs a `label` for every row, but {batch['unlabelled']} of a batch have "
            "none. Nobody judged them, so they are neither good nor bad: leave them out."
        )


def total_weights(batches: Sequence[Batch], terms: Sequence[Term]) -> Tensor:
    """[T] the sum of the weights of each term over the rows of some batches, float64."""

    def total(batch: Batch, term: Term) -> Tensor:
        weight = _weight(batch, term, _index(batch, term), batch["units"])
        return weight.double().sum()

    totals = [torch.stack([total(batch, term) for batch in batches]).sum() for term in terms]
    return torch.stack(totals)


def weight_of(scores: Scores) -> Tensor:
    """[B] weights; 1 where there are none."""
    return torch.ones_like(scores.policy[:, 0]) if scores.weight is None else scores.weight


def _index(batch: Batch, term: Term) -> Tensor:
    """[B, K] which items the rows of a term hold; -1 where one is absent."""
    if not term.roles:
        return batch["index"]
    absent = torch.full_like(batch["index"][:, 0], -1)
    return torch.stack([batch["roles"].get(role, absent) for role in term.roles], dim=1)


def _weight(batch: Batch, term: Term, index: Tensor, units: Tensor) -> Tensor:
    """[B] what each row counts: nothing where a role it needs, or every response, is absent."""
    present = index >= 0
    weight = batch["rows"]["weight"] * (present.all(1) if term.roles else present.any(1))
    if spec(term.objective).per == "unit":
        weight = weight * torch.where(present, units[index.clamp(min=0)], 0).sum(1)
    return weight


def as_terms(objective: Loss | Sequence[Term]) -> list[Term]:
    """Return the terms of an objective; a single loss is one, over all items."""
    if isinstance(objective, Sequence):
        return list(objective)
    return [Term(name_of(objective), objective, ())]


def all_needs(specs: Sequence[Spec]) -> Needs:
    """Return what losses need together."""
    needs = Needs()
    for declared in specs:
        needs = needs | declared.needs
    return needs
