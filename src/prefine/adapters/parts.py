"""Cut the rows of a batch into parts that are computed one after the other.

A part holds no more tokens than the budget, whatever the lengths of its rows; how a batch is cut
never changes its loss, whose weights are those of the whole batch.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

Row = Mapping[str, Any]
Part = list[int]
"""Numbers of rows."""


def split_rows(rows: Sequence[Row], budget: int | None, *, packed: bool) -> list[list[Row]]:
    """Cut encoded rows into parts of at most `budget` tokens, about equally many in each.

    Args:
        rows: Encoded rows. One that is longer than the budget makes a part of its own: its items
            are compared, so they stay together.
        budget: Most tokens of a part, as the model computes them; None for no limit.
        packed: Whether prompts are shared and nothing is padded. Rows with the same prompt stay
            together where they fit.

    Example:
        >>> rows = [{"prompt": [[1] * 4], "response": [[2] * n]} for n in (6, 1, 5, 2)]
        >>> [[len(r["response"][0]) for r in part] for part in split_rows(rows, 17, packed=False)]
        [[6], [1, 2], [5]]
        >>> [[len(r["response"][0]) for r in part] for part in split_rows(rows, 17, packed=True)]
        [[6, 1], [5, 2]]
    """
    if budget is None:
        return [list(rows)]
    parts = _even(rows, budget) if packed else _of_like_width(rows, budget)
    return [[rows[at] for at in sorted(part)] for part in sorted(parts, key=min)]


def _even(rows: Sequence[Row], budget: int) -> list[Part]:
    """The longest first, each into the emptiest part, if it has room."""
    units = sorted(_units(rows, budget), key=lambda unit: -unit[0])
    parts: list[Part] = [[] for _ in range(max(1, -(-sum(size for size, _ in units) // budget)))]
    filled = [0] * len(parts)
    for size, members in units:
        at = int(np.argmin(filled))
        if filled[at] and filled[at] + size > budget:
            parts.append([])
            filled.append(0)
            at = len(parts) - 1
        parts[at] += members
        filled[at] += size
    return [part for part in parts if part]


def _units(rows: Sequence[Row], budget: int) -> Iterable[tuple[int, Part]]:
    """Tokens and members of what stays together."""
    same: dict[bytes, Part] = {}
    for at, row in enumerate(rows):
        same.setdefault(b"".join(_key(prompt) for prompt in row["prompt"][:1]), []).append(at)
    for members in same.values():
        size = _packed_tokens(rows[at] for at in members)
        if size <= budget:
            yield size, members
        else:
            yield from ((_packed_tokens([rows[at]]), [at]) for at in members)


def _packed_tokens(rows: Iterable[Row]) -> int:
    prompts: dict[bytes, int] = {}
    responses = 0
    for row in rows:
        prompts |= {_key(prompt): len(prompt) for prompt in row["prompt"]}
        responses += sum(map(len, row["response"]))
    return sum(prompts.values()) + responses


def _key(prompt: Sequence[int]) -> bytes:
    return np.asarray(prompt, dtype=np.int64).tobytes()


def _of_like_width(rows: Sequence[Row], budget: int) -> list[Part]:
    """The widest first, as many as fit when all are padded to it."""
    widths = [
        max(
            (len(p) + len(r) for p, r in zip(row["prompt"], row["response"], strict=True)),
            default=0,
        )
        for row in rows
    ]
    parts: list[Part] = []
    items = width = 0
    for at in sorted(range(len(rows)), key=lambda at: -widths[at]):
        count = len(rows[at]["prompt"])
        if not parts or (items + count) * width > budget:
            parts.append([])
            items, width = 0, widths[at]
        parts[-1].append(at)
        items += count
    return parts
