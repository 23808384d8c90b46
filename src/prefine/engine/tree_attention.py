"""Attention over a packed row: trunks causal, branches see their trunk and themselves.

Registered with transformers, so that models gain it without a change: a model whose attention
implementation is `over(implementation)` behaves as before, unless its forward is given a `layout`.

On CPU flash blocks are merged by their log-sum-exp. A block's backward is given the merged output
and log-sum-exp, which makes the gradients it returns exact parts of the whole ones. Elsewhere, and
where a window or a soft cap binds, each branch attends to its trunk and itself with a mask of its
own; a mask over the whole row, which grows with its square, is never made.
"""

import sys
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prefine.engine.layout import Group, Layout, Span
from prefine.errors import EngineError

NAME = "prefine_tree_over_{}"
READ = {"position_ids", "cache_position", "use_cache", "output_attentions", "is_causal"}
"""Keywords that a model may pass on and that change nothing here."""


def over(implementation: str) -> str:
    """Register tree attention over `sdpa` or `eager`, and return its name, which stays as it is.

    Raises:
        EngineError: If it cannot stand in for that implementation.
    """
    from transformers import AttentionInterface
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, AttentionMaskInterface

    if is_registered(implementation):
        return implementation
    if implementation not in ("sdpa", "eager"):
        raise EngineError(f"{implementation} attention")
    name = NAME.format(implementation)
    AttentionInterface.register(name, _attend_over(implementation))
    AttentionMaskInterface.register(name, ALL_MASK_ATTENTION_FUNCTIONS[implementation])
    return name


def is_registered(implementation: str) -> bool:
    """Whether an attention implementation is one of `over`."""
    return implementation.startswith(NAME.format(""))


def _attend_over(implementation: str) -> Any:
    from transformers import AttentionInterface

    def attend(
        module: nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        layout: Layout | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor | None]:
        if layout is None:
            if implementation == "eager":
                plain = sys.modules[type(module).__module__].eager_attention_forward
            else:
                plain = AttentionInterface._global_mapping[implementation]
            return plain(module, query, key, value, attention_mask, **kwargs)
        layout.calls += 1
        out = tree_attention(query, key, value, layout, **_settings(kwargs))
        return out.transpose(1, 2).contiguous(), None

    return attend


def _settings(kwargs: dict[str, Any]) -> dict[str, Any]:
    """What shapes attention; a keyword that is not known might, so it is refused."""
    unknown = {k for k, v in kwargs.items() if v is not None} - READ
    unknown -= {"scaling", "dropout", "sliding_window", "softcap"}
    if unknown:
        raise EngineError(f"attention with {', '.join(sorted(unknown))}")
    if kwargs.get("dropout"):
        raise EngineError("attention with dropout")
    return {
        "scale": kwargs.get("scaling"),
        "window": kwargs.get("sliding_window"),
        "cap": kwargs.get("softcap"),
    }


def tree_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    layout: Layout,
    *,
    scale: float | None = None,
    window: int | None = None,
    cap: float | None = None,
) -> Tensor:
    """Attend within a packed row.

    Args:
        query: [1, heads, T, D].
        key: [1, key heads, T, D]; heads is a multiple of key heads.
        value: As `key`.
        layout: Who sees whom.
        scale: Factor of the logits; 1 / sqrt(D) by default.
        window: How many positions a token sees, itself included; counted in positions of its own
            prompt and response.
        cap: Soft cap of the logits.

    Returns:
        [1, heads, T, D].
    """
    if torch.is_autocast_enabled(query.device.type):
        dtype = torch.get_autocast_dtype(query.device.type)
        query, key, value = (part.to(dtype) for part in (query, key, value))
    window = None if window is None or layout.longest <= window else window
    if query.device.type == "cpu" and window is None and cap is None and _same_width(query, value):
        return _Flash.apply(query, key, value, layout, scale)  # type: ignore[return-value]
    return _by_blocks(query, key, value, layout, scale, window, cap)


def _same_width(query: Tensor, value: Tensor) -> bool:
    return query.shape[-1] == value.shape[-1]


def _repeated(part: Tensor, heads: int) -> Tensor:
    times = heads // part.shape[1]
    return part if times == 1 else part.repeat_interleave(times, dim=1)


def _folded(part: Tensor, heads: int) -> Tensor:
    """Sum gradients of repeated heads: the inverse of `_repeated`."""
    return part if part.shape[1] == heads else part.unflatten(1, (heads, -1)).sum(2)


# --- flash blocks, merged ---


class _Flash(torch.autograd.Function):
    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, layout: Layout, scale: float | None
    ) -> Tensor:
        heads = query.shape[1]
        k, v = _repeated(key, heads), _repeated(value, heads)
        out = torch.empty(query.shape, dtype=query.dtype)
        wide = torch.float64 if query.dtype == torch.float64 else torch.float32
        log_sum = torch.empty(query.shape[:3], dtype=wide)

        def block(of: Span, to: Span, causal: bool) -> tuple[Tensor, Tensor]:
            i, j = slice(*of), slice(*to)
            return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
                query[:, :, i], k[:, :, j], v[:, :, j], 0.0, causal, scale=scale
            )

        for group in layout.groups:
            for _, own in group.segments():
                at = slice(*own)
                out[:, :, at], log_sum[:, :, at] = block(own, own, True)
            if span := _branches(group):
                _merge(out, log_sum, span, *block(span, group.trunk, False))
        ctx.save_for_backward(query, key, value, out, log_sum)
        ctx.layout, ctx.scale = layout, scale
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:  # type: ignore[override]
        query, key, value, out, log_sum = ctx.saved_tensors
        heads, gradient = query.shape[1], gradient.contiguous()
        k, v = _repeated(key, heads), _repeated(value, heads)
        dq, dk, dv = (torch.zeros_like(part) for part in (query, k, v))

        def block(of: Span, to: Span, causal: bool) -> None:
            i, j = slice(*of), slice(*to)
            parts = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward(
                gradient[:, :, i], query[:, :, i], k[:, :, j], v[:, :, j],
                out[:, :, i], log_sum[:, :, i], 0.0, causal, scale=ctx.scale,
            )  # fmt: skip
            dq[:, :, i] += parts[0]
            dk[:, :, j] += parts[1]
            dv[:, :, j] += parts[2]

        for group in ctx.layout.groups:
            for _, own in group.segments():
                block(own, own, True)
            if span := _branches(group):
                block(span, group.trunk, False)
        return dq, _folded(dk, key.shape[1]), _folded(dv, key.shape[1]), None, None


def _branches(group: Group) -> Span | None:
    """All branches as one run of queries on their trunk; None where there is nothing to see."""
    if not group.branches or group.trunk[0] == group.trunk[1]:
        return None
    start = group.branches[0][0]
    return (start, group.end) if start < group.end else None


def _merge(out: Tensor, log_sum: Tensor, span: Span, more: Tensor, more_sum: Tensor) -> None:
    """Join to the attention of `span` what it saw elsewhere."""
    at = slice(*span)
    whole = torch.logaddexp(log_sum[:, :, at], more_sum)
    own = (log_sum[:, :, at] - whole).exp_().unsqueeze(-1)
    other = (more_sum - whole).exp_().unsqueeze(-1)
    out[:, :, at] = (out[:, :, at] * own + more * other).to(out.dtype)
    log_sum[:, :, at] = whole


# --- one branch at a time, public operations alone ---


def _by_blocks(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    layout: Layout,
    scale: float | None,
    window: int | None,
    cap: float | None,
) -> Tensor:
    heads = query.shape[1]
    k, v = _repeated(key, heads), _repeated(value, heads)
    parts: list[Tensor] = []
    for before, own in (segment for group in layout.groups for segment in group.segments()):
        seen = [slice(*before), slice(*own)]
        keys, values = (torch.cat([x[:, :, at] for at in seen], 2) for x in (k, v))
        mask = _mask(before[1] - before[0], own[1] - own[0], window, query.device)
        parts.append(_attend(query[:, :, slice(*own)], keys, values, mask, scale, cap))
    return torch.cat(parts, 2)


def _mask(before: int, own: int, window: int | None, device: torch.device) -> Tensor:
    """[own, before + own], true where a token may look."""
    at = torch.arange(before, before + own, device=device)[:, None]
    to = torch.arange(before + own, device=device)[None]
    return (to <= at) if window is None else (to <= at) & (to > at - window)


def _attend(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scale: float | None, cap: float | None
) -> Tensor:
    if cap is None:
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale)
    factor = query.shape[-1] ** -0.5 if scale is None else scale
    logits = query @ key.transpose(2, 3) * factor
    logits = cap * (logits / cap).tanh()
    wide = logits.dtype if logits.dtype == torch.float64 else torch.float32
    share = logits.masked_fill(~mask, -torch.inf).softmax(-1, dtype=wide).to(query.dtype)
    return share @ value
