"""The benchmark's instrument, on models so small that only its honesty is measured."""

import io
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from prefine.bench.cases import CASES, ON_CUDA, Case
from prefine.bench.figures import figures
from prefine.bench.run import DoesNotFit, Side, compare_first_steps, run_case, training_memory
from prefine.bench.table import show
from prefine.errors import BenchError

TINY = Case(preset="tiny", prompt=8, response=5, tuned=False, steps=1)


def small(case: Case) -> Case:
    """The same case on a model and a machine that are at hand."""
    return replace(
        case, preset="tiny", prompt=8, response=5, prompts=2, device="cpu",
        responses=min(case.responses, 3), steps=1,
    )  # fmt: skip


SLOW = {
    "pairs": TINY,
    "reward": replace(TINY, task="reward", checkpointing=True),
    "adapters": replace(TINY, lora=True, reference="separate"),
    "imitation": replace(TINY, task="sft", responses=1, prompts=2),
    "shipped": replace(TINY, shipped=True),
    "unshared": replace(TINY, responses=3, against="unshared"),
    "scoring": replace(TINY, task="score", responses=4, prompts=2, against="padded"),
    "mixed": replace(TINY, precision="mixed"),
    "GPU, all weights in bfloat16": small(ON_CUDA["8B: pairs"][0]),
    "GPU, adapters": small(ON_CUDA["8B, adapters: lists of 8"][0]),
}


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(replace(TINY, responses=3, prompts=2), id="lists"),
        *(pytest.param(case, marks=pytest.mark.slow, id=name) for name, case in SLOW.items()),
    ],
)
def test_both_sides_do_the_same_work(case: Case) -> None:
    """Equal tokens, loss and gradients, or scores; then steps in turn, each with its figures."""
    made = run_case(case, trl_python=sys.executable, pairs=2, threads=1)
    assert made["agreement"]
    assert sum(made["profile"].values()) == pytest.approx(1)
    assert made["profile"]["products"] > 0
    for side in made["sides"].values():
        assert len(side["steps"]) == 2
        assert all(step["seconds"] > 0 and step["peak"] > 0 for step in side["steps"])
    ours = made["sides"]["prefine"]["facts"]
    assert ours["layout"] == "packed"
    assert ours["imported"] < ours["until_ready"] < ours["first_step"]
    products = sum(flops[0] for _, flops in ours["products"])
    assert products == pytest.approx(ours["flops"][0], rel=1e-3)  # but for a head of one column
    estimated = made["gauge"]["estimate"]
    assert (estimated is None) == (case.task == "score" or case.reference == "separate")
    shown = figures("tiny", made)
    assert shown["speed"]["n"] == 2
    assert json.loads(json.dumps(shown)) == shown
    assert "worst: tiny" in show([shown])


@pytest.mark.slow
def test_a_step_on_pictures_is_that_of_diffusers() -> None:
    case = replace(CASES["pictures"][0], preset="tiny_unet", prompts=2, steps=1)
    made = run_case(case, trl_python="none", pairs=2, threads=1)
    assert made["agreement"]["gradient"] < 1e-3
    assert {name: len(side["steps"]) for name, side in made["sides"].items()} == {
        "prefine": 2, "diffusers": 2,
    }  # fmt: skip
    shown = figures("pictures", made)
    assert shown["estimated"]["memory_ratio"] > 0
    assert "| pictures | diffusers | tiny_unet, 77, 1024, 2 |" in show([shown])


def side(name: str, **first: Any) -> Side:
    return Side(name, None, {}, [first])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("losses", "gradients", "says"),
    [
        ((0.69, 0.70), (1.0, 1.0), "losses 0.69 and 0.7"),
        ((0.69, 0.69), (1.0, 1.1), "gradients that differ by 0.091"),
        ((float("nan"), 0.69), (1.0, 1.0), "losses nan"),
    ],
)
def test_other_work_is_not_timed(
    losses: tuple[float, float], gradients: tuple[float, float], says: str, tmp_path: Path
) -> None:
    for name, value in zip(("prefine", "trl"), gradients, strict=True):
        save_file({"weight": np.full(3, value)}, tmp_path / f"{name}.safetensors")
    sides = [side("prefine", loss=losses[0]), side("trl", loss=losses[1])]
    with pytest.raises(BenchError, match=says):
        compare_first_steps(sides, tmp_path, TINY)


def test_other_parameters_are_not_timed(tmp_path: Path) -> None:
    save_file({"a": np.ones(1)}, tmp_path / "prefine.safetensors")
    save_file({"b": np.ones(1)}, tmp_path / "trl.safetensors")
    with pytest.raises(BenchError, match="other parameters: a, b"):
        compare_first_steps([side("prefine", loss=1.0), side("trl", loss=1.0)], tmp_path, TINY)


def test_other_scores_are_not_timed(tmp_path: Path) -> None:
    sides = [side("prefine", scores=[-9.0, -4.0]), side("padded", scores=[-9.0, -4.1])]
    with pytest.raises(BenchError, match=r"scores differ by 0\.011"):
        compare_first_steps(sides, tmp_path, replace(TINY, task="score", against="padded"))


def test_a_side_that_fails_says_why() -> None:
    wrong = replace(TINY, preset="unknown")
    with pytest.raises(BenchError, match=r"(?s)the side of prefine stopped: .*KeyError: 'unknown'"):
        run_case(wrong, trl_python=sys.executable, pairs=1, threads=1)


def test_a_side_that_does_not_fit_is_told_from_one_that_fails() -> None:
    process: Any = SimpleNamespace(stdout=io.StringIO('{"does_not_fit": true}\n'), stderr=None)
    with pytest.raises(DoesNotFit, match="does not fit in this device's memory: trl"):
        Side("trl", process).hear()


def test_memory_is_what_training_adds() -> None:
    facts = {"base": 1000, "owned": 200}
    assert training_memory({"facts": facts, "steps": [{"peak": 1500}, {"peak": 1400}]}) == 300
