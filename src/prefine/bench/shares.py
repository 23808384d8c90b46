"""Where the time of a step goes, by kind of operation."""

import time
from typing import Any

KINDS = {
    "products": ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm", "aten::mkldnn"),
    "attention": ("flash_attention", "scaled_dot_product"),
    "optimizer": ("adamw", "Optimizer."),
    "other operations": ("aten::",),
}
"""Kind -> what names of its operations contain; the first that fits counts."""


class Profile:
    """Watches a step on the CPU."""

    def start(self) -> None:
        """Begin a step."""
        from torch.profiler import ProfilerActivity, profile

        self._watched: Any = profile(activities=[ProfilerActivity.CPU])
        self._watched.__enter__()
        self._begin = time.perf_counter()

    def stop(self) -> dict[str, float]:
        """Return each kind's share of the step's time; `rest` is spent outside of operations."""
        wall = time.perf_counter() - self._begin
        self._watched.__exit__(None, None, None)
        return shares(
            {e.key: e.self_cpu_time_total / 1e6 for e in self._watched.key_averages()}, wall
        )


def shares(seconds: dict[str, float], wall: float) -> dict[str, float]:
    """Return the share of each kind.

    Args:
        seconds: Operation -> the time it took itself.
        wall: Seconds of the step.

    Example:
        >>> shares({"aten::mm": 6.0, "aten::add": 1.0, "a Python function": 2.0}, 10.0)
        {'products': 0.6, 'attention': 0.0, 'optimizer': 0.0, 'other operations': 0.1, 'rest': 0.3}
    """
    found = dict.fromkeys(KINDS, 0.0)
    for name, took in seconds.items():
        kind = next((k for k, parts in KINDS.items() if any(p in name for p in parts)), None)
        if kind is not None:
            found[kind] += took / wall
    return {**found, "rest": round(1.0 - sum(found.values()), 9)}
