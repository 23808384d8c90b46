"""What a batch costs in floating-point operations (FLOPs), two for each multiply-add.

Only products of matrices are counted, as is usual: with them come all the rest's memory, and
almost all of the time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from prefine.engine.layout import PackedItems
from prefine.engine.packed import base_of


@dataclass(frozen=True, slots=True)
class Work:
    """How much a batch asks of a model, whatever the model.

    Attributes:
        tokens: Tokens that the trunk computes.
        seen: Pairs of a token and one that it sees, itself included.
        scored: Positions at which the head is applied.
    """

    tokens: int
    seen: int
    scored: int

    def __add__(self, other: "Work") -> "Work":
        return Work(self.tokens + other.tokens, self.seen + other.seen, self.scored + other.scored)


@dataclass(frozen=True, slots=True)
class Flops:
    """FLOPs by part of a model.

    Attributes:
        trunk: Of its weights, those of the head aside.
        attention: Of queries with keys, and of what they weigh with values.
        head: Of the weights that turn hidden states into logits, or into a reward.
    """

    trunk: float
    attention: float
    head: float

    @property
    def total(self) -> float:
        """All of them."""
        return self.trunk + self.attention + self.head


def work_of(items: PackedItems) -> Work:
    """Return the work of a packed row.

    Example:
        >>> from prefine.engine.layout import pack
        >>> work_of(pack([([5, 6], [7, 8], [1, 1]), ([5, 6], [9], [1])]))  # 3 + (4 + 3) + (2 + 1)
        Work(tokens=5, seen=13, scored=3)
    """
    seen = 0
    for group in items.layout.groups:
        for before, own in group.segments():
            seen += (own[1] - own[0]) * (before[1] - before[0]) + _causal(own[1] - own[0])
    return Work(items.tokens, seen, len(items.source))


def padded_work(lengths: Sequence[int], scored: int | None = None) -> Work:
    """Return the work of rows that are padded to the longest.

    Args:
        lengths: Tokens of each row.
        scored: Positions at which the head is applied; every position where None.

    Example:
        >>> padded_work([2, 4])
        Work(tokens=8, seen=20, scored=8)
    """
    width, count = max(lengths, default=0), len(lengths)
    tokens = count * width
    return Work(tokens, count * _causal(width), tokens if scored is None else scored)


def _causal(length: int) -> int:
    return length * (length + 1) // 2


def forward_flops(model: nn.Module, work: Work) -> Flops:
    """Return the FLOPs of one forward pass.

    Args:
        model: A transformers model with a language-model head or a `score` head; may hold adapters.
        work: What is computed.
    """
    trunk, head = _trunk(model), _head(model)
    return Flops(
        2.0 * sum(trunk) * work.tokens,
        4.0 * _attention_width(model) * work.seen,
        2.0 * sum(head) * work.scored,
    )


def training_flops(model: nn.Module, work: Work, *, recomputed: bool = False) -> Flops:
    """Return the FLOPs of forward and backward pass.

    Gradients of activations are needed for every product, those of weights for trained ones alone.

    Args:
        model: As in `forward_flops`.
        work: What is computed.
        recomputed: Count what prefine's path computes twice, too: the head's logits and the
            attention's weights in the backward pass, and under gradient checkpointing the trunk's
            forward pass. Without it the FLOPs are those that no path can do without.
    """
    forward = forward_flops(model, work)
    trunk, head = _trunk(model), _head(model)
    again = recomputed and _is_checkpointed(model)
    return Flops(
        (3.0 if again else 2.0) * forward.trunk + 2.0 * trunk.trained * work.tokens,
        forward.attention * (3.0 + (0.5 if recomputed else 0.0) + (1.0 if again else 0.0)),
        (3.0 if recomputed else 2.0) * forward.head + 2.0 * head.trained * work.scored,
    )


class _Weights(tuple[float, float]):
    """Multiply-adds a token: of trained weights, and of frozen ones."""

    __slots__ = ()

    @property
    def trained(self) -> float:
        return self[0]


def _trunk(model: nn.Module) -> _Weights:
    base = base_of(model)
    return _weights(base.base_model, base.config.get_text_config())


def _head(model: nn.Module) -> _Weights:
    base = base_of(model)
    head = base.get_output_embeddings()
    head = getattr(base, "score", None) if head is None else head
    return _Weights((0.0, 0.0)) if head is None else _weights(head, None)


def _weights(part: nn.Module, config: Any) -> _Weights:
    """Every matrix multiplies every token once, but for tables that are looked up in."""
    counts = {True: 0.0, False: 0.0}
    for name, module in part.named_modules():
        if isinstance(module, nn.Embedding) or "original_module" in name.split("."):
            continue  # the second is the part of which an adapter trains a copy
        for weight in module.parameters(recurse=False):
            if weight.ndim >= 2:
                counts[weight.requires_grad] += weight.numel() * _share_used(weight.shape, config)
    return _Weights((counts[True], counts[False]))


def _share_used(shape: Sequence[int], config: Any) -> float:
    """Experts lie in one table of three dimensions; a token goes through a few of them."""
    used = getattr(config, "num_experts_per_tok", None)
    return used / shape[0] if used and len(shape) == 3 else 1.0


def _attention_width(model: nn.Module) -> float:
    """Numbers of all heads of all layers together."""
    config = base_of(model).config.get_text_config()
    heads = config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    return float(heads * width * config.num_hidden_layers)


def _is_checkpointed(model: nn.Module) -> bool:
    return any(getattr(module, "gradient_checkpointing", False) for module in model.modules())
