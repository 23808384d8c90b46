"""Curves made by hand: a healthy run of DPO, in which a test changes one thing."""

from collections.abc import Callable
from typing import Any

import pytest

from prefine.audit.curves import Curves

STEPS = 40
WOBBLE = 0.01

Shape = Callable[[float], float]

HEALTHY: dict[str, Shape] = {
    "loss": lambda t: 0.69 - 0.12 * t,
    "rewards/margins": lambda t: 0.35 * t,
    "rewards/chosen": lambda t: -0.02 * t,
    "rewards/rejected": lambda t: -0.37 * t,
    "rewards/accuracies": lambda t: 0.5 + 0.25 * min(1, 2 * t),
    "ranking_accuracy": lambda t: 0.5 + 0.05 * t,
    "logps/chosen": lambda t: -24 - 0.04 * t,
    "logps/rejected": lambda t: -24 - 0.74 * t,
    "logps/mean_token": lambda t: -1.6,
    "log_ratio/chosen": lambda t: -0.04 * t,
    "log_ratio/rejected": lambda t: -0.74 * t,
    "kl_reference": lambda t: 0.39 * t,
    "entropy": lambda t: 1.6,
    "length_correlation": lambda t: 0.05,
    "grad_norm": lambda t: 1.5,
}
"""Metric -> its value at a share t of the run, 0 at the first step. 24 nats in 15 tokens."""

SMOOTH = {"rewards/margins", "log_ratio/chosen", "log_ratio/rejected", "kl_reference"}
"""What is 0 before the first step, and therefore starts without scatter."""


@pytest.fixture
def run() -> Callable[..., Curves]:
    """Return `make(steps=..., without=(...), **parts)`: curves with some metrics changed.

    `shapes={metric: shape}` replaces metrics; every second step lies a hundredth higher, the others
    lower.
    """

    def make(
        steps: int = STEPS,
        shapes: dict[str, Shape] | None = None,
        held_out: dict[int, dict[str, float]] | None = None,
        without: tuple[str, ...] = (),
        wobble: float = WOBBLE,
        header: dict[str, Any] | None = None,
        config: dict[str, Any] | None = None,
        summary: dict[str, Any] | None = None,
        rows: list[dict[str, Any]] | None = None,
    ) -> Curves:
        known = {k: v for k, v in {**HEALTHY, **(shapes or {})}.items() if k not in without}
        logged: list[dict[str, Any]] = []
        for step in range(1, steps + 1):
            t = (step - 1) / max(1, steps - 1)
            sign = (1 if step % 2 else -1) * wobble
            row = {"step": step}
            for name, shape in known.items():
                calm = name in SMOOTH and step == 1
                row[name] = shape(t) * (1 if calm else 1 + sign)
            logged.append(row)
            if step in (held_out or {}):
                logged.append({"step": step, **held_out[step]})  # type: ignore[index]
        return Curves(
            logged,
            {"options": {"beta": 0.5}, "training": {"learning_rate": 3e-4}, **(config or {})},
            {"unit": "nats", "reference": "initial policy m, cached", "rows": {"held_out": 400}}
            | (header or {}),
            {"metrics": {"reward_accuracy": stat(0.73)}} if summary is None else summary,
            rows,
        )

    return make


def stat(value: float, half: float = 0.02) -> dict[str, Any]:
    """A number as `summary.json` holds it."""
    low, high = value - half, value + half
    return {"value": value, "low": low, "high": high, "n": 400, "method": "by hand"}


@pytest.fixture
def number() -> Callable[..., dict[str, Any]]:
    """Return `make(value, half)`: a number as `summary.json` holds it."""
    return stat
