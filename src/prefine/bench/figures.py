"""From the steps of a case to figures with their uncertainty."""

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from prefine.bench.cases import CASES, Goal
from prefine.bench.run import training_memory
from prefine.statistics import Stat

DRAWS = 2000

Side = Mapping[str, Any]


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Stat:
    """Return sum(theirs) / sum(ours) over pairs of steps on the same rows.

    Lengths differ from step to step and with them the times, but both sides' alike: pairs are
    drawn, not steps.

    Example:
        >>> print(ratio([1.0, 2.0, 3.0], [2.0, 4.0, 6.0]))
        2.0000 [2.0000, 2.0000] (n=3, bootstrap over pairs of steps)
    """
    a, b = np.asarray(ours), np.asarray(theirs)
    at = np.random.default_rng(0).integers(0, len(a), (DRAWS, len(a)))
    low, high = np.quantile(b[at].sum(1) / a[at].sum(1), [0.025, 0.975])
    value = float(b.sum() / a.sum())
    return Stat(value, float(low), float(high), len(a), method="bootstrap over pairs of steps")


def figures(name: str, made: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a case shows, as JSON values; times in seconds, memory in bytes."""
    case, sides = made["case"], made["sides"]
    ours, theirs = sides["prefine"], sides[case["against"]]
    facts = ours["facts"]
    seconds, wall = (_column(ours, key) for key in ("seconds", "wall"))
    goal = CASES[name][1] if name in CASES else Goal()
    shown: dict[str, Any] = {
        "name": name,
        "case": case,
        "threads": made["threads"],
        "agreement": made["agreement"],
        "layout": facts["layout"],
        "seconds": {side: _spread(_column(of, "seconds")) for side, of in sides.items()},
        "wall_seconds": {side: _spread(_column(of, "wall")) for side, of in sides.items()},
        "speed": ratio(seconds, _column(theirs, "seconds")).to_json(),
        "speed_wall": ratio(wall, _column(theirs, "wall")).to_json(),
        "response_tokens_per_second": {
            side: ratio(_column(of, "wall"), _timed(facts, "response_tokens", of)).to_json()
            for side, of in sides.items()
        },
        "tokens": {
            "prefine": float(np.mean(_timed(facts, "tokens", ours))),
            case["against"]: float(np.mean(_timed(facts, "their_tokens", ours))),
        },
        "flops": {
            "prefine": float(np.mean(_timed(facts, "flops", ours))),
            case["against"]: float(np.mean(_timed(facts, "their_flops", ours))),
            "necessary": float(np.mean(_timed(facts, "necessary_flops", ours))),
        },
        "training_memory": _memory(ours, theirs, case["against"]),
        "peak_memory": {side: max(_column(of, "peak")) for side, of in sides.items()},
        **_products(made),
        "profile": made["profile"],
        "estimated": _estimated(made),
        "goal": goal.to_json(),
        "steps": {side: of["steps"] for side, of in sides.items()},
    }
    for said in ("imported", "prepared", "first_step"):
        shown[f"{said}_seconds"] = {
            side: of["facts"][said] for side, of in sides.items() if said in of["facts"]
        }
    return {**shown, "met": met(shown)}


def _column(side: Side, key: str) -> list[float]:
    return [step[key] for step in side["steps"]]


def _timed(facts: Mapping[str, Any], key: str, side: Side) -> list[float]:
    """A fact of each step that was timed."""
    return facts[key][facts["first"] :][: len(side["steps"])]


def _spread(values: Sequence[float]) -> dict[str, float]:
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    return {"median": float(middle), "low_quartile": float(low), "high_quartile": float(high)}


def _memory(ours: Side, theirs: Side, against: str) -> dict[str, float]:
    found = {"prefine": training_memory(dict(ours)), against: training_memory(dict(theirs))}
    return {**found, "ratio": found["prefine"] / found[against]}


def _products(made: Mapping[str, Any]) -> dict[str, Any]:
    """How long the products of our steps would take alone, and the share of the peak rate."""
    ours, gauge = made["sides"]["prefine"], made["gauge"]
    if gauge is None or not ours["facts"]["products"]:
        return {}
    count = len(ours["steps"])
    first = ours["facts"]["first"]
    flops = np.array([steps[first : first + count] for _, steps in ours["facts"]["products"]])

    def alone(rates: Sequence[float]) -> list[float]:
        return (flops / np.array(rates)[:, None]).sum(0).tolist()

    wall = _column(ours, "wall")
    needed = np.asarray(_timed(ours["facts"], "necessary_flops", ours)) / gauge["peak"]
    found = {
        "peak_flops_per_second": gauge["peak"],
        "products": ratio(wall, alone(gauge["rates"])).to_json(),
        "utilisation": ratio(wall, needed.tolist()).to_json(),
    }
    if made["case"]["device"] == "cpu":
        busy = alone(gauge["busy_rates"])
        found["products_cpu"] = ratio(_column(ours, "seconds"), busy).to_json()
    return found


def _estimated(made: Mapping[str, Any]) -> dict[str, float] | None:
    """What was estimated before the first step, and what was measured as a share of it."""
    ours, gauge = made["sides"]["prefine"], made["gauge"]
    found = None if gauge is None else gauge["estimate"]
    if found is None or found["memory"] is None:
        return None
    seconds, memory = found["seconds_step"], found["memory"]["training"]
    return {
        "wall_seconds": seconds,
        "wall_ratio": float(np.mean(_column(ours, "wall"))) / seconds,
        "training_memory": memory,
        "memory_ratio": training_memory(dict(ours)) / memory,
    }


def met(shown: Mapping[str, Any]) -> bool | None:
    """Whether every goal of a case is met, by its interval's lower end.

    None where none is set, or where not all that it asks for was measured.

    A share of more than the whole is an error of measuring, and meets nothing.
    """
    goal = {name: value for name, value in shown["goal"].items() if value is not None}
    if not goal.keys() <= {*shown, "memory"}:
        return None
    reached = {name: shown[name]["low"] for name in goal if name != "memory"}
    held = [reached[name] >= goal[name] for name in reached]
    held += [shown[name]["low"] <= 1 for name in reached if name in ("products", "utilisation")]
    if "memory" in goal:
        held.append(shown["training_memory"]["ratio"] <= goal["memory"])
    return all(held) if held else None


def skipped(name: str, reason: str) -> dict[str, Any]:
    """Return what stands in the place of a case that this machine cannot run."""
    return {"name": name, "case": CASES[name][0].to_json(), "skipped": reason}


def machine(device: str = "cpu") -> dict[str, Any]:
    """Return what the figures were taken on."""
    names = ("prefine", "torch", "transformers")
    found = {
        "processor": _processor(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in names},
    }
    if device == "cuda":
        import torch

        found["gpu"] = torch.cuda.get_device_name()
    return found


def _processor() -> str:
    cores = Path("/proc/cpuinfo")
    lines = cores.read_text(encoding="utf-8").splitlines() if cores.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())
