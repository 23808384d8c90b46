"""`prefine diagnose` and `prefine compare` on runs of a tiny model."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prefine.runs import RunFolder
from prefine.training.config import parse
from prefine.training.run import train

Prefine = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def runs(home: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two short runs on the same held-out rows, one of them with far too large a rate."""
    folder = tmp_path_factory.mktemp("runs")
    found: dict[str, Path] = {}
    for name, rate in (("calm", 1e-3), ("wild", 3.0)):
        config = parse(
            {
                "objective": "dpo", "model": str(home / "model"), "data": str(home / "pairs.jsonl"),
                "eval_data": str(home / "pairs.jsonl"), "out": str(folder / name),
                "training": {"use_cpu": True, "learning_rate": rate, "max_steps": 12,
                             "per_device_train_batch_size": 4, "save_strategy": "no",
                             "max_grad_norm": 0.0, "lr_scheduler_type": "constant"},
            }
        )  # fmt: skip
        found[name] = train(config, quiet=True).folder
    return found


def test_an_ill_run_is_named_and_fails(prefine: Prefine, runs: dict[str, Path]):
    code, out, _ = prefine("diagnose", runs["wild"])
    assert code == 1
    first = out.splitlines()[0]
    assert first.split() == ["CRITICAL", "learning_rate_too_large"] or "learning_rate" in first
    assert "seen  loss at step 1: 0.693" in out
    assert "(here 3)" in out


def test_json_says_the_same(prefine: Prefine, runs: dict[str, Path]):
    code, out, _ = prefine("diagnose", runs["wild"], "--json")
    made = json.loads(out)
    assert code == 1
    assert made["healthy"] is False
    assert made["findings"][0]["name"] == "learning_rate_too_large"
    assert made["steps"] == 12


def test_a_healthy_run_holds(prefine: Prefine, tmp_path: Path):
    """Curves as they should be, kept in a folder by hand."""
    run = RunFolder(tmp_path / "healthy").open()
    run.write_config({"objective": "dpo", "header": {"unit": "nats", "rows": {"held_out": 0}}})
    for step in range(1, 41):
        t, up = (step - 1) / 39, 1 if step % 2 else -1
        run.append(
            {
                "step": step, "loss": 0.693 - 0.12 * t, "rewards/margins": 0.35 * t,
                "rewards/accuracies": 0.5 + 0.22 * t + 0.01 * up, "logps/chosen": -24.0,
                "logps/rejected": -24.0 - t, "logps/mean_token": -1.6, "log_ratio/chosen": 0.0,
                "log_ratio/rejected": -0.7 * t, "kl_reference": 0.35 * t, "entropy": 1.6,
                "length_correlation": 0.1 * up,
            }
        )  # fmt: skip
    code, out, err = prefine("diagnose", run.path)
    assert (code, err) == (0, "")
    assert "not checked  overfitting: the run has no held-out accuracy" in out
    assert "did not come to its end" in out
    assert out.splitlines()[-1].startswith("healthy  40 steps, nothing found; 10 of 11")


def test_no_run_is_an_error(prefine: Prefine, tmp_path: Path):
    code, out, err = prefine("diagnose", tmp_path / "nowhere")
    assert (code, out) == (1, "")
    assert "no run.yaml" in err


def test_runs_are_compared(prefine: Prefine, runs: dict[str, Path], tmp_path: Path):
    page = tmp_path / "page.html"
    code, out, _ = prefine("compare", runs["calm"], runs["wild"], "--out", page)
    assert code == 0
    assert "A − B  accuracy" in out
    assert "differs  training.learning_rate: A 0.001; B 3.0" in out
    text = page.read_text()
    assert "<svg" in text
    assert "<script" not in text
    code, out, _ = prefine("compare", runs["calm"], runs["wild"], "--json", "--measure", "margin")
    made: dict[str, Any] = json.loads(out)
    (difference,) = made["differences"]
    assert difference["measure"] == "margin"
    assert difference["p"] == difference["p_holm"]


def test_one_run_is_misuse(prefine: Prefine, runs: dict[str, Path]):
    code, _, err = prefine("compare", runs["calm"])
    assert code == 2
    assert "two runs or more" in err
