"""What the steps of a case ask for: tokens, FLOPs, and the products they are made of."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import combinations
from typing import Any

from torch import nn

from prefine.bench.world import Group
from prefine.engine.cost import (
    Flops,
    Work,
    forward_flops,
    padded_work,
    training_flops,
    work_of,
)
from prefine.engine.layout import Item, pack
from prefine.engine.linear_log_prob import TILE_BYTES
from prefine.engine.packed import base_of

Product = tuple[str, int, int, int, int]
"""Kind, batch, rows, inner width, columns of a product of matrices."""


def costs(case: Any, model: Any, groups: Sequence[Group], steps: int) -> dict[str, Any]:
    """Return what each step of a case costs on both sides, as JSON values.

    Returns:
        `response_tokens`, `tokens` (of the packed row) and `their_tokens`, lists of a number a
        step; `flops`, `necessary_flops` (without what is computed twice) and `their_flops`; and
        `products`, a list of `[kind, batch, rows, inner, columns]` with the FLOPs a step of each.
    """
    size = len(groups) // steps
    cut = [groups[at : at + size] for at in range(0, len(groups), size)]
    ours = [_packed(case, part) for part in cut]
    theirs = [_theirs(case, part) for part in cut]
    with _checkpointing(model, case["checkpointing"]):
        done = [_flops(case, model, work, recomputed=True) for work in ours]
        needed = [_flops(case, model, work, recomputed=False) for work in ours]
        products = _products(case, model, groups, ours, done)
    other = {**case, **case["other"]}
    with _checkpointing(model, other["checkpointing"]):
        their_flops = [_flops(other, model, work, recomputed=True) for work in theirs]
    return {
        "response_tokens": [
            sum(len(r) for _, responses in part for r in responses) for part in cut
        ],
        "tokens": [work.tokens for work in ours],
        "their_tokens": [work.tokens for work in theirs],
        "flops": [flops.total for flops in done],
        "necessary_flops": [flops.total for flops in needed],
        "their_flops": [flops.total for flops in their_flops],
        "products": products,
    }


def _items(part: Sequence[Group]) -> list[Item]:
    return [
        (prompt, response, [1] * len(response))
        for prompt, responses in part
        for response in responses
    ]


def _packed(case: Any, part: Sequence[Group]) -> Work:
    work = work_of(pack(_items(part)))
    count = len(_items(part))
    return Work(work.tokens, work.seen, count) if case["task"] == "reward" else work


def _theirs(case: Any, part: Sequence[Group]) -> Work:
    if case["against"] == "unshared":
        return work_of(pack(_items(part), share=False))
    if case["against"] == "padded":
        longest = max(len(response) for _, response, _ in _items(part))
        lengths = [len(prompt) + len(response) for prompt, response, _ in _items(part)]
        return padded_work(lengths, len(lengths) * longest)
    return padded_work(
        [
            len(prompt) + len(response)
            for prompt, responses in part
            for row in combinations(responses, min(2, len(responses)))
            for response in row
        ]
    )


def _flops(case: Any, model: Any, work: Work, *, recomputed: bool) -> Flops:
    forward = forward_flops(model, work)
    if case["task"] == "score":
        return forward
    found = training_flops(model, work, recomputed=recomputed)
    if case["task"] != "dpo" or case["reference"] == "cached":
        return found
    return Flops(
        found.trunk + forward.trunk,
        found.attention + forward.attention,
        found.head + forward.head,
    )


@contextmanager
def _checkpointing(model: Any, on: bool) -> Iterator[None]:
    """Let a model say that it computes activations again, as a Trainer will make it do."""
    layers: list[Any] = [
        module for module in model.modules() if hasattr(module, "gradient_checkpointing")
    ]
    before = [layer.gradient_checkpointing for layer in layers]
    for layer in layers:
        layer.gradient_checkpointing = on
    try:
        yield
    finally:
        for layer, was in zip(layers, before, strict=True):
            layer.gradient_checkpointing = was


def _products(
    case: Any, model: Any, groups: Sequence[Group], works: Sequence[Work], flops: Sequence[Flops]
) -> list[tuple[Product, list[float]]]:
    """The trunk's and the head's FLOPs in equal parts for each pass, by shape; then attention's."""
    base = base_of(model)
    tokens = round(sum(work.tokens for work in works) / len(works))
    scored = max(1, round(sum(work.scored for work in works) / len(works)))
    shapes = Counter(
        (layer.in_features, layer.out_features, layer.weight.requires_grad)
        for layer in base.base_model.modules()
        if isinstance(layer, nn.Linear)
    )
    trains = case["task"] != "score"
    separate = int(case["task"] == "dpo" and case["reference"] == "separate")
    parts = {
        _passes(tokens, shape, 1 + case["checkpointing"] + separate, trains): (
            count * shape[0] * shape[1]
        )
        for shape, count in shapes.items()
    }
    found = _divided(parts, [flop.trunk for flop in flops])
    head = base.get_output_embeddings()
    if head is not None:
        tall, wide = head.weight.shape
        shape = (wide, _tile(scored, tall), head.weight.requires_grad)
        passes = _passes(scored, shape, 1 + trains + separate, trains)
        found += _divided({passes: 1.0}, [flop.head for flop in flops])
    config = base.config
    length = round(sum(len(p) + len(r) for p, r, _ in _items(groups)) / len(_items(groups)))
    width = config.hidden_size // config.num_attention_heads
    attention: Product = ("forward", config.num_attention_heads, length, width, length)
    return [*found, (attention, [flop.attention for flop in flops])]


def _passes(
    rows: int, shape: tuple[int, int, bool], forwards: int, trains: bool
) -> tuple[Product, ...]:
    """Forward passes of a linear layer, then the gradients of what goes in and of its weights."""
    inner, columns, trained = shape
    forward: Product = ("forward", 1, rows, inner, columns)
    back: tuple[Product, ...] = (("input", 1, rows, columns, inner),) if trains else ()
    if trains and trained:
        back += (("weight", 1, columns, rows, inner),)
    return (forward,) * forwards + back


def _divided(
    parts: Mapping[tuple[Product, ...], float], flops: Sequence[float]
) -> list[tuple[Product, list[float]]]:
    total = sum(share * len(passes) for passes, share in parts.items())
    return [
        (product, [step * share / total for step in flops])
        for passes, share in parts.items()
        for product in passes
    ]


def _tile(rows: int, vocabulary: int) -> int:
    """Columns of the vocabulary that the head takes at once (see `engine.linear_log_prob`)."""
    return min(vocabulary, max(512, TILE_BYTES // (4 * rows) // 64 * 64))
