"""From the steps of a case to figures with their uncertainty, a table and a picture."""

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from prefine.bench.cases import CASES, Goal
from prefine.bench.run import training_memory
from prefine.report.figures import bars
from prefine.statistics import Stat

DRAWS = 2000


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Stat:
    """Return the ratio of medians, theirs by ours, over pairs of steps taken in turn.

    Example:
        >>> print(ratio([1.0, 1.0, 1.0], [2.0, 2.0, 2.0]).value)
        2.0
    """
    a, b = np.asarray(ours), np.asarray(theirs)
    rng = np.random.default_rng(0)
    at = rng.integers(0, len(a), (DRAWS, len(a)))
    drawn = np.median(b[at], axis=1) / np.median(a[at], axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    value = float(np.median(b) / np.median(a))
    return Stat(value, float(low), float(high), len(a), method="bootstrap over pairs of steps")


def figures(name: str, made: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a case shows, as JSON values."""
    ours, theirs = made["sides"]["prefine"], made["sides"]["trl"]

    def column(side: Mapping[str, Any], key: str) -> list[float]:
        return [step[key] for step in side["steps"]]

    speed = ratio(column(ours, "cpu"), column(theirs, "cpu"))
    wall = ratio(column(ours, "wall"), column(theirs, "wall"))
    memory = training_memory(ours) / training_memory(theirs)
    goal = CASES[name][1] if name in CASES else Goal()
    return {
        "name": name,
        "case": made["case"],
        "threads": made["threads"],
        "agreement": made["agreement"],
        "layout": ours["facts"]["layout"],
        "cpu_seconds": {
            "prefine": _spread(column(ours, "cpu")), "trl": _spread(column(theirs, "cpu")),
        },
        "wall_seconds": {
            "prefine": _spread(column(ours, "wall")), "trl": _spread(column(theirs, "wall")),
        },
        "speed": speed.to_json(),
        "speed_wall": wall.to_json(),
        "response_tokens_per_second": ours["facts"]["response_tokens"]
        / float(np.median(column(ours, "wall"))),
        "training_memory": {
            "prefine": training_memory(ours), "trl": training_memory(theirs), "ratio": memory,
        },
        "peak_memory": {
            name: max(step["peak"] for step in side["steps"])
            for name, side in (("prefine", ours), ("trl", theirs))
        },
        "import_seconds": {s: made["sides"][s]["facts"]["imported"] for s in ("prefine", "trl")},
        "prepare_seconds": {s: made["sides"][s]["facts"]["prepared"] for s in ("prefine", "trl")},
        "goal": {"speed": goal.speed, "memory": goal.memory},
        "met": _met(speed, memory, goal),
    }  # fmt: skip


def _spread(values: Sequence[float]) -> dict[str, float]:
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    return {"median": float(middle), "low_quartile": float(low), "high_quartile": float(high)}


def _met(speed: Stat, memory: float, goal: Goal) -> bool | None:
    if goal.speed is None and goal.memory is None:
        return None
    fast = goal.speed is None or (speed.low is not None and speed.low >= goal.speed)
    return fast and (goal.memory is None or memory <= goal.memory)


def machine() -> dict[str, Any]:
    """Return what the figures were taken on."""
    names = ("prefine", "torch", "transformers")
    cores = Path("/proc/cpuinfo")
    model = next(
        (
            line.partition(":")[2].strip()
            for line in (cores.read_text(encoding="utf-8").splitlines() if cores.exists() else [])
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    return {
        "processor": model,
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in names},
    }


def show(results: Sequence[Mapping[str, Any]]) -> str:
    """Return the table, the worst case last."""
    lines = [
        "| case | model, prompt, response, responses | CPU s a step: prefine, TRL | faster by | "
        "goal | training memory | goal |",
        "|---|---|---|---|---|---|---|",
    ]
    for made in results:
        case, speed, goal = made["case"], made["speed"], made["goal"]
        ours, theirs = (made["cpu_seconds"][side]["median"] for side in ("prefine", "trl"))
        lines.append(
            f"| {made['name']} | {case['preset']}, {case['prompt']}, {case['response']}, "
            f"{case['responses']} | {ours:.2f}, {theirs:.2f} | {speed['value']:.2f} "
            f"[{speed['low']:.2f}, {speed['high']:.2f}] | {_asked(goal['speed'], '≥')} | "
            f"{made['training_memory']['ratio']:.2f} | {_asked(goal['memory'], '≤')} |"
        )
    worst = min(results, key=lambda made: made["speed"]["value"])
    lines += ["", f"worst: {worst['name']}, {worst['speed']['value']:.2f}"]
    return "\n".join(lines)


def picture(results: Sequence[Mapping[str, Any]]) -> str:
    """Return an SVG of the ratios; bars start at 1, where both sides are equally fast."""
    stats = {made["name"]: Stat.from_json(made["speed"]) for made in results}
    drawn = bars(stats, xlabel="CPU seconds a step, TRL by prefine", mark=1.0)
    return drawn.svg.replace('<svg style="', '<svg style="background: #fff; ')


def _asked(value: float | None, sign: str) -> str:
    return "" if value is None else f"{sign} {value:g}"
