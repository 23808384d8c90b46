"""Log-probabilities of given tokens from hidden states, without ever holding the logits.

The vocabulary is walked through in tiles, forward and backward; a tile's buffer is reused, so
memory does not grow with the vocabulary. Sums run in float32 or wider.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

TILE_BYTES = 16 << 20
"""Size of the buffer for a tile of logits."""

IMPOSSIBLE = -1e9
"""Logit of a token that is left out: its probability is 0, and what a cap bends stays finite."""


@dataclass(frozen=True, slots=True)
class Head:
    """What turns hidden states into logits: cap(scale (W h + b)), cap(z) = c tanh(z / c).

    Attributes:
        weight: [V, H].
        bias: [V], or None.
        scale: Factor of all logits.
        cap: Soft cap c, or None.
    """

    weight: Tensor
    bias: Tensor | None = None
    scale: float = 1.0
    cap: float | None = None


class Said(NamedTuple):
    """What a model says of S tokens; float32, or float64 where its hidden states are.

    Attributes:
        log_prob: [S] of the tokens that stand there, nats.
        entropy: [S] of the whole distributions, nats, or None; no gradient.
        top: [S, k] log-probabilities of the k likeliest tokens, or None; no gradient.
    """

    log_prob: Tensor
    entropy: Tensor | None = None
    top: Tensor | None = None


def linear_log_prob(
    hidden: Tensor,
    head: Head,
    target: Tensor,
    *,
    entropy: bool = False,
    top: int = 0,
    without: int | None = None,
) -> Said:
    """Return log softmax(logits)[target] and, if asked, more of each distribution.

    Args:
        hidden: [S, H].
        head: Turns them into logits [S, V], which are never held at once.
        target: [S] token ids.
        entropy: Whether to compute entropies, too.
        top: How many of the likeliest tokens are of interest, at most V of them.
        without: A token that is left out of the distributions, and is no target.

    Example:
        >>> hidden = torch.tensor([[0.0, 0.0]])
        >>> said = linear_log_prob(
        ...     hidden, Head(torch.ones(4, 2)), torch.tensor([2]), entropy=True)
        >>> said.log_prob, said.entropy  # -log 4, log 4
        (tensor([-1.3863]), tensor([1.3863]))
    """
    log_prob, spread, likeliest = _LinearLogProb.apply(  # type: ignore[misc]
        hidden, head.weight, head.bias, target, head.scale, head.cap, entropy, top, without
    )
    return Said(log_prob, spread if entropy else None, likeliest if top else None)


class _LinearLogProb(torch.autograd.Function):
    """With p = softmax(z) and d = dz / dz_raw: dh = g scale (d_t W_t - (p d) W)."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        target: Tensor,
        scale: float,
        cap: float | None,
        entropy: bool,
        likeliest: int,
        without: int | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        tiles = _Tiles(hidden, weight, bias, scale, cap, without)
        high = torch.full(target.shape, -torch.inf, dtype=tiles.wide, device=hidden.device)
        total, moment = torch.zeros_like(high), torch.zeros_like(high)
        chosen = torch.empty_like(high)
        best = high[:, None].expand(-1, likeliest)
        for start, end in tiles.ends():
            logits = tiles.logits(start, end)
            _pick(chosen, logits, target, start, end)
            if likeliest:
                best = torch.cat([best, logits], 1).topk(likeliest).values
            top = torch.maximum(high, logits.amax(1))
            fade = (high - top).exp_()
            if entropy:
                raw = logits.clone()
                share = logits.sub_(top[:, None]).exp_()
                moment.mul_(fade).add_((share * raw).sum(1))
            else:
                share = logits.sub_(top[:, None]).exp_()
            total.mul_(fade).add_(share.sum(1))
            high = top
        log_total = high + total.log()
        ctx.save_for_backward(hidden, weight, bias, target, log_total, chosen)
        ctx.scale, ctx.cap, ctx.without = scale, cap, without
        spread = log_total - moment / total if entropy else log_total
        best = best - log_total[:, None]
        ctx.mark_non_differentiable(spread, best)
        return chosen - log_total, spread, best

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> Any:  # type: ignore[override]
        hidden, weight, bias, target, log_total, chosen = ctx.saved_tensors
        tiles = _Tiles(hidden, weight, bias, ctx.scale, ctx.cap, ctx.without)
        wide, cap, scale = tiles.wide, ctx.cap, ctx.scale
        need_weight, need_bias = ctx.needs_input_grad[1], bias is not None
        slope = gradient.to(wide) * scale
        pulled = hidden.to(wide) * slope[:, None]
        pushed = torch.zeros(hidden.shape, dtype=wide, device=hidden.device)
        d_weight = torch.empty(weight.shape, dtype=wide, device=hidden.device)
        d_weight = d_weight if need_weight else None
        d_bias = torch.zeros(weight.shape[0], dtype=wide, device=hidden.device)
        for start, end in tiles.ends():
            share = tiles.logits(start, end)
            bend = None if cap is None else 1 - (share / cap).square_()
            share = share.sub_(log_total[:, None]).exp_()
            share = share if bend is None else share.mul_(bend)
            pushed.addmm_(share, weight[start:end].to(wide))
            if d_weight is not None:
                torch.mm(share.t(), pulled, out=d_weight[start:end])
            if need_bias:
                d_bias[start:end] = share.t() @ slope
        bend = torch.ones_like(chosen) if cap is None else 1 - (chosen / cap).square()
        d_hidden = (weight[target].to(wide) * bend[:, None] - pushed).mul_(slope[:, None])
        if d_weight is not None:
            d_weight.neg_().index_add_(0, target, pulled * bend[:, None])
            d_weight = d_weight.to(weight.dtype)
        if need_bias:
            d_bias = d_bias.neg_().index_add_(0, target, slope * bend).to(bias.dtype)
        return (
            d_hidden.to(hidden.dtype), d_weight, d_bias if need_bias else None,
            None, None, None, None, None, None,
        )  # fmt: skip


class _Tiles:
    """Logits of a range of the vocabulary, in one buffer that the next range overwrites."""

    def __init__(
        self,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        scale: float,
        cap: float | None,
        without: int | None,
    ) -> None:
        narrow = torch.is_autocast_enabled(hidden.device.type)
        dtype = torch.get_autocast_dtype(hidden.device.type) if narrow else hidden.dtype
        self.dtype = hidden.dtype if hidden.dtype == torch.float64 else dtype
        self.wide = torch.float64 if hidden.dtype == torch.float64 else torch.float32
        self.hidden, self.weight, self.bias = hidden.to(self.dtype), weight, bias
        self.scale, self.cap, self.without = scale, cap, without
        rows, size = hidden.shape[0], weight.shape[0]
        fits = TILE_BYTES // (self.wide.itemsize * max(1, rows))
        self.step = min(size, max(512, fits // 64 * 64))
        self.buffer = torch.empty((rows, self.step), dtype=self.wide, device=hidden.device)

    def ends(self) -> list[tuple[int, int]]:
        """Return (start, end) of each tile."""
        size = self.weight.shape[0]
        return [(start, min(start + self.step, size)) for start in range(0, size, self.step)]

    def logits(self, start: int, end: int) -> Tensor:
        """Return [S, end - start] in float32 or wider, as a model in `dtype` would."""
        out = self.buffer[:, : end - start]
        weight = self.weight[start:end].to(self.dtype)
        with torch.autocast(out.device.type, enabled=False):
            if self.dtype == self.wide:
                torch.mm(self.hidden, weight.t(), out=out)
            else:
                out.copy_(self.hidden @ weight.t())
        if self.bias is not None:
            out += self.bias[start:end].to(self.wide)
        if self.scale != 1.0:
            out *= self.scale
        out = out if self.cap is None else out.div_(self.cap).tanh_().mul_(self.cap)
        if self.without is not None and start <= self.without < end:
            out[:, self.without - start] = IMPOSSIBLE
        return out


def _pick(chosen: Tensor, logits: Tensor, target: Tensor, start: int, end: int) -> None:
    """Keep the logits of the targets that lie in this tile."""
    here = (target >= start) & (target < end)
    column = (target - start).clamp(0, end - start - 1)
    chosen.copy_(torch.where(here, logits.gather(1, column[:, None])[:, 0], chosen))
