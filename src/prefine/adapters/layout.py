"""Lay encoded texts out as one batch of items: padded rows, or one packed row."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from prefine.adapters.rows import Items, Row, lay_out_rows
from prefine.engine.layout import WORTH_SHARING, PackedItems, pack, saved_share
from prefine.protocols import Batch


def lay_out(rows: Sequence[Mapping[str, Any]], pad: int, *, packed: bool = False) -> Batch:
    """Lay the items of B rows out as one batch (see `protocols.Batch`).

    Args:
        rows: Encoded rows, as `TextEncoder.rows` yields them, with `absent`, `reference` and
            `features` where known.
        pad: Token id to pad with, on the right.
        packed: One row without padding, in which equal prompts stand once.
    """

    def place(items: Items) -> Batch:
        lengths = torch.tensor([np.count_nonzero(row["mask"][k]) for _, row, k in items])
        features = [row["features"][k] for _, row, k in items if row.get("features") is not None]
        if items and len(features) == len(items):
            stacked = torch.from_numpy(np.stack(features))
            return {"items": {}, "features": stacked, "response_length": lengths}
        placed = _packed(items) if packed else _padded(items, pad)
        return {"items": placed, "response_length": lengths}

    return lay_out_rows(rows, place, _units)


def _units(row: Row, k: int) -> int:
    """Scored tokens of an item: the first token of all has nothing that predicts it."""
    mask = np.asarray(row["mask"][k], dtype=np.bool_)
    return int(np.count_nonzero(mask if len(row["prompt"][k]) else mask[1:]))


def _packed(items: Items) -> PackedItems:
    parts = [(row["prompt"][k], row["response"][k], row["mask"][k]) for _, row, k in items]
    return pack(parts, share=saved_share(parts) >= WORTH_SHARING)


def _padded(items: Items, pad: int) -> dict[str, Tensor]:
    lengths = [len(row["prompt"][k]) + len(row["response"][k]) for _, row, k in items]
    width = max(lengths, default=0)
    ids = np.full((len(items), width), pad, dtype=np.int64)
    attend = np.zeros((len(items), width), dtype=np.int64)
    scored = np.zeros((len(items), width), dtype=np.bool_)
    for n, (_, row, k) in enumerate(items):
        start, length = len(row["prompt"][k]), lengths[n]
        ids[n, :start] = row["prompt"][k]
        ids[n, start:length] = row["response"][k]
        attend[n, :length] = 1
        scored[n, start:length] = row["mask"][k]
    return {
        "input_ids": torch.from_numpy(ids),
        "attention_mask": torch.from_numpy(attend),
        "response_mask": torch.from_numpy(scored),
    }
