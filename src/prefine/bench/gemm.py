"""How fast this machine multiplies matrices; each product is repeated, its best time counts."""

import time
from collections.abc import Sequence
from typing import Any

SPAN = 0.12
"""Seconds for which each product is repeated, with each backend."""

LARGE = {"cpu": 1536, "cuda": 8192}
"""Rows and columns of the product whose rate is the machine's peak, if no other is faster."""


def rates(products: Sequence[Sequence[Any]], device: str, dtype: Any) -> list[tuple[float, float]]:
    """Return the FLOPs of each product in a second, and in a second of the CPU's time.

    Args:
        products: Kind, batch, rows, inner width, columns. `forward` multiplies by a transposed
            matrix as a linear layer does, `input` by a plain one, `weight` a transposed one.
        device: `cpu` or `cuda`.
        dtype: Of the numbers.
    """
    return [_rate(product, device, dtype) for product in products]


def _rate(product: Sequence[Any], device: str, dtype: Any) -> tuple[float, float]:
    import torch

    kind, batch, rows, inner, columns = product

    def made(tall: int, wide: int) -> Any:
        return torch.randn(batch, tall, wide, device=device, dtype=dtype)

    one = made(inner, rows).mT if kind == "weight" else made(rows, inner)
    other = made(columns, inner).mT if kind == "forward" else made(inner, columns)
    one, other = (one, other) if batch > 1 else (one[0], other[0])
    out = torch.matmul(one, other)
    wall = busy = float("inf")
    end = time.perf_counter() + SPAN
    while time.perf_counter() < end or busy == float("inf"):
        begin, began = _now(device), time.process_time()
        torch.matmul(one, other, out=out)
        wall = min(wall, _now(device) - begin)
        busy = min(busy, max(time.process_time() - began, 1e-9))
    flops = 2.0 * batch * rows * inner * columns
    return flops / wall, flops / busy


def _now(device: str) -> float:
    if device == "cuda":
        import torch

        torch.cuda.synchronize()
    return time.perf_counter()


def has_bfloat16(size: int = 384) -> bool:
    """Whether bfloat16 products are faster here than float32 ones, as where there are units."""
    import torch

    product = ["forward", 1, size, size, size]
    low, high = (_rate(product, "cpu", dtype)[0] for dtype in (torch.bfloat16, torch.float32))
    return low > high
