"""Fill a store with what a model says of every item, before training and once."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from prefine.engine import ReferenceCache, item_key
from prefine.engine.reference_cache import KEY_BYTES

Row = Mapping[str, Any]
Value = Any
"""A number, or an array."""


def fill(
    store: ReferenceCache,
    rows: Sequence[Row],
    score: Callable[[Sequence[Row]], Sequence[Sequence[Value]]],
    *,
    batch_size: int,
    progress: str | None = None,
    shard: int = 64,
) -> int:
    """Score every item that the store lacks.

    Work is cut into the same chunks whatever is stored already, so that an interrupted fill ends
    with the numbers of an unbroken one.

    Args:
        store: Where values are kept.
        rows: Encoded rows.
        score: Returns one value per item for each of a few rows.
        batch_size: Rows at once.
        progress: Name of the progress bar, or None for none.
        shard: Chunks that are written at once.

    Returns:
        How many items were scored.
    """
    from tqdm import tqdm

    starts = range(0, len(rows), batch_size)
    scored, pending = 0, dict[bytes, Value]()
    for n, start in enumerate(tqdm(starts, desc=progress, disable=progress is None)):
        part = [rows[at] for at in range(start, min(start + batch_size, len(rows)))]
        keys = [key for row in part for key in item_keys(row)]
        if store.missing(keys):
            values = [value for row in score(part) for value in row]
            pending |= dict(zip(keys, values, strict=True))
            scored += len(keys)
        if (n + 1) % shard == 0:
            store.add(pending)
            pending = {}
    store.add(pending)
    return scored


def item_keys(row: Row) -> list[bytes]:
    """Return the keys of a row's items."""
    if "keys" in row:  # what is drawn belongs to the row's seed and the item's number
        drawn = f"{row['seed']}".encode()
        return [
            hashlib.sha256(b"%b\0%b\0%d" % (key, drawn, k)).digest()[:KEY_BYTES]
            for k, key in enumerate(row["keys"])
        ]
    return [
        item_key(prompt, response, mask)
        for prompt, response, mask in zip(row["prompt"], row["response"], row["mask"], strict=True)
    ]
