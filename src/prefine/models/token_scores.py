"""Log-probabilities of single tokens of encoded rows, in order, without gradient."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from prefine.adapters.bind import bind, is_bound
from prefine.protocols import Adapter
from prefine.scores import Needs

LOG_PROB = Needs(elements=frozenset({"log_prob"}))


def score_tokens(
    rows: Sequence[Mapping[str, Any]],
    model: nn.Module,
    adapter: Adapter,
    *,
    batch_size: int = 16,
    progress: str | None = None,
) -> list[list[list[float]]]:
    """Return the log-probability of every scored token of every item of every row.

    Args:
        rows: Encoded rows, as `Adapter.prepare` returns them.
        model: Put into evaluation mode.
        adapter: Lays rows out and scores them; must know the element `log_prob`.
        batch_size: Rows at once.
        progress: Name of the progress bar, or None for none.

    Returns:
        A list a row, in it one an item, in the order of the row's roles, and in it nats a token:
        those of `scored_ids`.
    """
    from accelerate.utils import send_to_device
    from tqdm import tqdm

    model.eval()
    if not is_bound(model):
        bind(model, adapter)
    device = next(model.parameters()).device
    found: list[list[list[float]]] = []
    starts = range(0, len(rows), batch_size)
    for start in tqdm(starts, desc=progress, disable=progress is None):
        part = rows[start : start + batch_size]
        plain = [{**row, "reference": None} for row in part]
        batch: Any = send_to_device(adapter.collate(plain), device)
        with torch.no_grad():
            scored = model(batch=batch, draw=adapter.draw(batch, model), needs=LOG_PROB)
        of_item = [
            values[kept].double().tolist()
            for values, kept in zip(
                scored.elements["log_prob"], scored.elements["mask"].bool(), strict=True
            )
        ]
        for b, row in enumerate(part):
            found.append([of_item[int(batch["roles"][role][b])] for role in row["roles"]])
    return found


def scored_ids(row: Mapping[str, Any], item: int) -> list[int]:
    """Return the tokens of an item that are scored: the first of all has nothing before it.

    Example:
        >>> row = {"prompt": [[5]], "response": [[6, 7, 2]], "mask": [[True, False, True]]}
        >>> scored_ids(row, 0)
        [6, 2]
    """
    kept = np.asarray(row["mask"][item], dtype=np.bool_).copy()
    if not len(row["prompt"][item]) and len(kept):
        kept[0] = False
    return np.asarray(row["response"][item])[kept].tolist()
