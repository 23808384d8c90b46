"""From prompts to tokens, and from tokens to a record: what all samplers of text share."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from prefine.records import Candidate, Message, Origin, Record


def left_padded(prompts: Sequence[list[int]], pad: int) -> tuple[Tensor, Tensor]:
    """Return [R, P] token ids that end together, and the mask that is 0 before they start.

    Example:
        >>> left_padded([[5], [6, 7]], pad=0)[0].tolist()
        [[0, 5], [6, 7]]
    """
    width = max(map(len, prompts))
    short = [width - len(ids) for ids in prompts]
    ids = torch.tensor([[pad] * gap + ids for gap, ids in zip(short, prompts, strict=True)])
    return ids, (torch.arange(width) >= torch.tensor(short)[:, None]).long()


def end_ids(model: Any, tokenizer: Any) -> list[int]:
    """Return the ids that end a response."""
    ids = model.generation_config.eos_token_id
    ids = tokenizer.eos_token_id if ids is None else ids
    return [ids] if isinstance(ids, int) else list(ids)


def until_end(tokens: Tensor, ends: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Say [N, T] which tokens belong to the response, its end included; which of them is the end.

    Example:
        >>> alive, ended = until_end(torch.tensor([[4, 2, 9]]), [2])
        >>> alive.tolist(), ended.tolist()
        ([[True, True, False]], [[False, True, False]])
    """
    is_end = torch.isin(tokens, torch.tensor(ends, dtype=tokens.dtype, device=tokens.device))
    before = is_end.cumsum(1) - is_end.long()
    alive = before == 0
    return alive, is_end & alive


def answered(record: Record, texts: Sequence[str], name: str) -> Record:
    """Return a record's prompt with responses that a model of some name wrote."""
    return Record(
        source=record.source,
        context=record.context,
        tools=record.tools,
        candidates=tuple(
            Candidate(f"c{k}", (Message("assistant", text),), origin=Origin("model", model=name))
            for k, text in enumerate(texts)
        ),
        principal=record.principal,
        tags=record.tags,
    )
