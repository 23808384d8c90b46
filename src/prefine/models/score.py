"""Score encoded rows with a model, in order, without gradient."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from prefine.adapters.bind import bind, is_bound
from prefine.protocols import Adapter
from prefine.scores import ItemScores, Needs


def score_rows(
    rows: Sequence[Mapping[str, Any]],
    model: nn.Module,
    adapter: Adapter,
    *,
    batch_size: int = 16,
    progress: str | None = None,
    call: Callable[..., ItemScores] | None = None,
) -> list[list[float]]:
    """Score every item of every row.

    Args:
        rows: Encoded rows, as `Adapter.prepare` returns them.
        model: Put into evaluation mode.
        adapter: Lays rows out and scores them.
        batch_size: Rows at once.
        progress: Name of the progress bar, or None for none.
        call: Scores a batch in place of the model, e.g. a reference that lives inside it.

    Returns:
        One list per row, one score per item, in the order of the row's roles.
    """
    from tqdm import tqdm

    model.eval()
    if not is_bound(model):
        bind(model, adapter)
    starts = range(0, len(rows), batch_size)
    scores: list[list[float]] = []
    for start in tqdm(starts, desc=progress, disable=progress is None):
        scores += score_batch(rows[start : start + batch_size], model, adapter, call)
    return scores


def score_batch(
    rows: Sequence[Mapping[str, Any]],
    model: nn.Module,
    adapter: Adapter,
    call: Callable[..., ItemScores] | None = None,
) -> list[list[float]]:
    """Score the items of a few rows at once, with a bound model."""
    from accelerate.utils import send_to_device

    plain = [{**row, "reference": None} for row in rows]
    device = next(model.parameters()).device
    batch: Any = send_to_device(adapter.collate(plain), device)
    scores = [[float("nan")] * len(row["roles"]) for row in rows]
    for part in (batch, batch.get("mismatched")):
        if part is None:
            continue
        with torch.no_grad():
            scored = (call or model)(batch=part, draw=adapter.draw(part, model), needs=Needs())
        values = scored.value.double().cpu().tolist()
        for role, at in part["roles"].items():
            for b, position in enumerate(at.tolist()):
                if position >= 0:
                    scores[b][rows[b]["roles"].index(role)] = values[position]
    return scores
