"""One packed row for a whole batch: each prompt once, then the responses that continue it.

    prompt 1, response 1, response 2, …, prompt 2, response 1, …

There is no padding. Positions of a response continue its prompt's, so a model that may look only
where `Layout` says computes what it would on each prompt and response alone. Without sharing each
prompt is repeated before its response: the same path, and nothing but packing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Span = tuple[int, int]
Ids = NDArray[np.int64]
Tokens = Sequence[int] | Ids
Item = tuple[Tokens, Tokens, Tokens]
"""Prompt tokens, response tokens, and which of the response's tokens are scored."""


@dataclass(frozen=True, slots=True)
class Group:
    """A run of tokens that see each other backwards, and the runs that continue it.

    Attributes:
        trunk: Start and end of the shared part, causal within itself.
        branches: Each sees the whole trunk and, backwards, itself; none sees another.
    """

    trunk: Span
    branches: tuple[Span, ...] = ()

    @property
    def end(self) -> int:
        """Where the next group starts."""
        return self.branches[-1][1] if self.branches else self.trunk[1]

    def segments(self) -> Iterator[tuple[Span, Span]]:
        """Yield (what is seen as a whole, what is causal within itself), without empty ones."""
        start, end = self.trunk
        if start < end:
            yield (start, start), self.trunk
        for branch in self.branches:
            if branch[0] < branch[1]:
                yield self.trunk, branch


@dataclass(slots=True)
class Layout:
    """Who sees whom in a packed row.

    Attributes:
        groups: In order, without gaps.
        longest: Largest number of tokens from a prompt's start to a response's end.
        calls: How often attention was asked for with this layout: one a layer and forward pass.
    """

    groups: tuple[Group, ...]
    longest: int
    calls: int = 0


@dataclass(frozen=True, slots=True)
class PackedItems:
    """N items in one packed row of T tokens, S of which are scored.

    Attributes:
        input_ids: [1, T].
        position_ids: [1, T] each item's own.
        source: [S] where each scored token is predicted.
        target: [S] the scored tokens.
        item: [S] which item each belongs to, ascending.
        slot: [S] the how-manieth scored token of its item it is.
        last: [N] each item's last token.
        units: [N] scored tokens of each item that something predicts.
        width: Scored tokens of the longest item.
        layout: Who sees whom.
    """

    input_ids: Tensor
    position_ids: Tensor
    source: Tensor
    target: Tensor
    item: Tensor
    slot: Tensor
    last: Tensor
    units: Tensor
    width: int
    layout: Layout

    def to(self, device: Any, non_blocking: bool = False) -> "PackedItems":
        """Return the same items on another device."""
        tensors = {
            name: value.to(device, non_blocking=non_blocking)
            for name in self.__dataclass_fields__
            if isinstance(value := getattr(self, name), Tensor)
        }
        return replace(self, **tensors)

    @property
    def tokens(self) -> int:
        """Tokens of the row: what the model computes."""
        return self.input_ids.shape[1]


def pack(items: Sequence[Item], *, share: bool = True) -> PackedItems:
    """Lay items out in one row; equal prompts stand there once, wherever their items came from.

    Args:
        items: In any order; the first token of an empty prompt's response is never scored, since
            nothing predicts it.
        share: Whether items with the same prompt share it.

    Example:
        >>> packed = pack([([5, 6], [7, 8], [1, 1]), ([5, 6], [9], [1])])
        >>> packed.input_ids.tolist(), packed.position_ids.tolist()
        ([[5, 6, 7, 8, 9]], [[0, 1, 2, 3, 2]])
        >>> packed.source.tolist(), packed.target.tolist(), packed.item.tolist()
        ([1, 2, 1], [7, 8, 9], [0, 0, 1])
        >>> packed.layout.groups
        (Group(trunk=(0, 2), branches=((2, 4), (4, 5))),)
    """
    parts = [_arrays(item) for item in items]
    ids: list[Ids] = []
    positions: list[Ids] = []
    groups: list[Group] = []
    starts: dict[int, tuple[int, int]] = {}  # item -> its prompt's end, its response's start
    at = 0
    for members in _by_prompt(parts, share):
        prompt = parts[members[0]][0]
        ids.append(prompt)
        positions.append(np.arange(len(prompt)))
        trunk = (at, at + len(prompt))
        at = trunk[1]
        branches: list[Span] = []
        for n in members:
            response = parts[n][1]
            ids.append(response)
            positions.append(np.arange(len(prompt), len(prompt) + len(response)))
            starts[n] = (trunk[1], at)
            branches.append((at, at + len(response)))
            at += len(response)
        groups.append(_group(trunk, branches))
    scored = [_scored(n, item, *starts[n]) for n, item in enumerate(parts)]
    source, target, item, slot = (_joined(column) for column in zip(*scored, strict=True))
    longest = max((len(prompt) + len(response) for prompt, response, _ in parts), default=0)
    units = torch.bincount(item, minlength=len(parts))
    return PackedItems(
        _joined(ids)[None],
        _joined(positions)[None],
        source,
        target,
        item,
        slot,
        torch.tensor([_last(item, *starts[n]) for n, item in enumerate(parts)]),
        units,
        int(units.max()) if len(units) else 0,
        Layout(tuple(groups), longest),
    )


def _arrays(item: Item) -> tuple[Ids, Ids, Ids]:
    prompt, response, mask = (np.asarray(part, dtype=np.int64) for part in item)
    return prompt, response, mask


def _joined(parts: Sequence[Ids]) -> Tensor:
    return torch.from_numpy(np.concatenate(parts))


WORTH_SHARING = 0.05
"""Least share of tokens that sharing prompts must save: joining attention costs something, too."""


def saved_share(items: Sequence[Item]) -> float:
    """Return which share of the tokens of items need not be computed if prompts are shared.

    Example:
        >>> saved_share([([1, 2, 3], [4], [1]), ([1, 2, 3], [5], [1])])
        0.375
    """
    total = sum(len(prompt) + len(response) for prompt, response, _ in items)
    once = {_key(prompt): len(prompt) for prompt, _, _ in items}
    saved = sum(len(prompt) for prompt, _, _ in items) - sum(once.values())
    return saved / total if total else 0.0


def _by_prompt(items: Sequence[Item], share: bool) -> list[list[int]]:
    """Items of each prompt, in order of first use."""
    if not share:
        return [[n] for n in range(len(items))]
    found: dict[bytes, list[int]] = {}
    for n, (prompt, _, _) in enumerate(items):
        found.setdefault(_key(prompt), []).append(n)
    return list(found.values())


def _key(prompt: Tokens) -> bytes:
    return np.asarray(prompt, dtype=np.int64).tobytes()


def _group(trunk: Span, branches: Sequence[Span]) -> Group:
    """A single response only continues its prompt, and an empty prompt is seen by nobody."""
    if len(branches) == 1:
        return Group((trunk[0], branches[0][1]))
    return Group(trunk, tuple(branches))


def _scored(
    n: int, item: tuple[Ids, Ids, Ids], prompt_end: int, start: int
) -> tuple[Ids, Ids, Ids, Ids]:
    """Source, target, item and slot of the scored tokens of item n."""
    prompt, response, mask = item
    at = np.flatnonzero(mask)
    if not len(prompt):
        at = at[at > 0]
    source = np.where(at == 0, prompt_end, start + at) - 1
    return source, response[at], np.full(len(at), n), np.arange(len(at))


def _last(item: Item, prompt_end: int, start: int) -> int:
    return (start + len(item[1]) if len(item[1]) else prompt_end) - 1
