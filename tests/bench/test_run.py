"""The benchmark's instrument, on models so small that only its honesty is measured."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file
from typer.testing import CliRunner

from prefine.bench.cases import CASES, QUICK, Case
from prefine.bench.figures import figures, ratio, show
from prefine.bench.run import Side, compare_first_steps, run_case, training_memory
from prefine.cli.main import app
from prefine.errors import BenchError

TINY = Case(preset="tiny", prompt=8, response=5, tuned=False, steps=1)


@pytest.mark.parametrize(
    "case",
    [
        replace(TINY, responses=3, prompts=2),
        pytest.param(TINY, marks=pytest.mark.slow),
        pytest.param(replace(TINY, task="reward", checkpointing=True), marks=pytest.mark.slow),
        pytest.param(replace(TINY, lora=True, reference="separate"), marks=pytest.mark.slow),
    ],
    ids=["lists", "pairs", "reward", "adapters"],
)
def test_both_sides_do_the_same_work(case: Case) -> None:
    """Equal tokens, loss and gradients; then steps in turn, each with its figures."""
    made = run_case(case, trl_python=sys.executable, pairs=2, threads=1)
    assert made["agreement"]["gradient"] < 1e-3
    for side in made["sides"].values():
        assert len(side["steps"]) == 2
        assert all(step["cpu"] > 0 and step["peak"] > 0 for step in side["steps"])
    assert made["sides"]["prefine"]["facts"]["layout"] == "packed"
    shown = figures("tiny", made)
    assert shown["speed"]["n"] == 2
    assert json.loads(json.dumps(shown)) == shown
    assert "worst: tiny" in show([shown])


def side(name: str, loss: float) -> Side:
    return Side(name, None, {}, [{"loss": loss}])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("losses", "gradients", "says"),
    [
        ((0.69, 0.70), (1.0, 1.0), "losses 0.69 and 0.7"),
        ((0.69, 0.69), (1.0, 1.1), "gradients that differ by 0.091"),
    ],
)
def test_other_work_is_not_timed(
    losses: tuple[float, float], gradients: tuple[float, float], says: str, tmp_path: Path
) -> None:
    for name, value in zip(("prefine", "trl"), gradients, strict=True):
        save_file({"weight": np.full(3, value)}, tmp_path / f"{name}.safetensors")
    with pytest.raises(BenchError, match=says):
        compare_first_steps([side("prefine", losses[0]), side("trl", losses[1])], tmp_path)


def test_other_parameters_are_not_timed(tmp_path: Path) -> None:
    save_file({"a": np.ones(1)}, tmp_path / "prefine.safetensors")
    save_file({"b": np.ones(1)}, tmp_path / "trl.safetensors")
    with pytest.raises(BenchError, match="other parameters: a, b"):
        compare_first_steps([side("prefine", 1.0), side("trl", 1.0)], tmp_path)


def test_a_side_that_fails_says_why(tmp_path: Path) -> None:
    wrong = replace(TINY, preset="unknown")
    with pytest.raises(BenchError, match=r"(?s)the side of prefine stopped: .*KeyError: 'unknown'"):
        run_case(wrong, trl_python=sys.executable, pairs=1, threads=1)


def test_the_ratio_has_an_interval() -> None:
    stat = ratio([1.0, 1.1, 0.9, 1.0], [2.0, 2.1, 2.2, 1.9])
    assert stat.low is not None
    assert stat.high is not None
    assert 1.7 < stat.low <= stat.value <= stat.high < 2.5
    assert stat.n == 4


def test_memory_is_what_training_adds() -> None:
    facts = {"base": 1000, "parameters": 20, "trained": 10}
    assert training_memory({"facts": facts, "steps": [{"peak": 1500}, {"peak": 1400}]}) == 300


def test_cases_change_one_thing_at_a_time() -> None:
    assert set(QUICK) < set(CASES)
    names = CliRunner().invoke(app, ["bench", "--list"]).stdout.splitlines()
    assert names == list(CASES)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--case", "pears"], "There is no case 'pears'"),
        (["--trl-python", "nowhere/python"], "run `make bench`"),
        (["--quick", "--case", "adapters"], "--quick chooses the cases itself"),
    ],
)
def test_misuse_says_what_to_do(words: list[str], says: str) -> None:
    done = CliRunner().invoke(app, ["bench", *words])
    assert says in str(done.exception)


def test_figures_already_taken_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[Any] = []
    monkeypatch.setattr("prefine.bench.run.run_case", lambda case, **_: ran.append(case) or MADE)
    words = ["bench", "--trl-python", sys.executable, "--out", str(tmp_path / "bench.json")]
    words += ["--threads", "1", "--pairs", "1"]
    for name in ("pairs, light", "adapters"):
        done = CliRunner().invoke(app, [*words, "--case", name])
        assert done.exit_code == 0, done.exception
    assert len(ran) == 2
    kept = json.loads((tmp_path / "bench.json").read_text())["cases"]
    assert [made["name"] for made in kept] == ["pairs, light", "adapters"]
    done = CliRunner().invoke(app, [*words, "--case", "adapters", "--threads", "2"])
    assert "another number of threads or pairs" in str(done.exception)
    assert "<svg" in (tmp_path / "bench.svg").read_text()


FACTS = {
    "base": 0, "parameters": 0, "trained": 0, "layout": "packed", "response_tokens": 4.0,
    "imported": 1.0, "prepared": 1.0,
}  # fmt: skip
STEPS = [{"cpu": 1.0, "wall": 1.0, "peak": 10, "loss": 0.7}]
MADE = {
    "case": TINY.to_json(), "threads": 1, "agreement": {"loss": 0.0, "gradient": 0.0},
    "sides": {name: {"facts": FACTS, "steps": STEPS} for name in ("prefine", "trl")},
}  # fmt: skip
