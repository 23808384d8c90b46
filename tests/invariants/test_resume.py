"""A run that was killed and resumed is the run that was not, bit for bit."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

KILL = Path(__file__).with_name("kill.py")


@pytest.fixture(scope="module")
def home(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_llama: Callable[..., Any],
    tiny_tokenizer: Any,
) -> Path:
    """A folder with a tiny model and rows with thumbs, of unequal lengths."""
    folder = tmp_path_factory.mktemp("resume")
    tiny_llama().save_pretrained(folder / "model")
    tiny_tokenizer.save_pretrained(folder / "model")
    rows = [
        {
            "prompt": [{"role": "user", "content": f"Say {n}."}],
            "completion": [{"role": "assistant", "content": word * (n % 5 + 1)}],
            "label": bool(n % 2),
        }
        for n, word in enumerate(["no ", "yes "] * 22 + ["no "])
    ]
    (folder / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    return folder


def run(
    home: Path,
    name: str,
    place: str = "none",
    count: int = 0,
    *flags: str,
    objective: str = "kto",
    every: dict[str, Any] | None = None,
) -> int:
    """Train in a process of its own; return its exit code."""
    config = {
        "objective": objective, "model": str(home / "model"), "data": str(home / "rows.jsonl"),
        "out": str(home / name), "options": {"beta": 0.5}, "reference": "cached",
        "training": {
            "use_cpu": True, "learning_rate": 3e-3, "num_train_epochs": 2,
            "per_device_train_batch_size": 4, "gradient_accumulation_steps": 2,
            "save_strategy": "steps", "save_steps": 3, "save_total_limit": 9,
            "eval_strategy": "steps", "eval_steps": 4, **(every or {}),
        },
    }  # fmt: skip
    path = home / f"{name}.yaml"
    path.write_text(yaml.safe_dump(config))
    env = {**os.environ, "PREFINE_CACHE": str(home / f"{name}.cache"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(KILL), str(path), place, str(count), *flags]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    if place == "none":
        assert done.returncode == 0, done.stderr
    return done.returncode


@pytest.fixture(scope="module")
def unbroken(home: Path) -> dict[str, Path]:
    """Unbroken runs: KTO draws mismatched pairs, BCO carries a statistic from step to step."""
    for objective in ("kto", "bco"):
        run(home, f"unbroken_{objective}", objective=objective)
    return {name: home / f"unbroken_{name}" for name in ("kto", "bco")}


def assert_same(one: Path, two: Path) -> None:
    first, second = (load_file(p / "model" / "model.safetensors") for p in (one, two))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert (one / "metrics.jsonl").read_bytes() == (two / "metrics.jsonl").read_bytes()
    last = sorted((one / "checkpoints").iterdir())[-1].name
    states = [(p / "checkpoints" / last / "objective_state.json").read_bytes() for p in (one, two)]
    assert states[0] == states[1]
    summaries = [json.loads((p / "summary.json").read_text()) for p in (one, two)]
    assert summaries[0]["metrics"] == summaries[1]["metrics"]


@pytest.mark.parametrize(
    ("place", "count", "objective"),
    [("step", 5, "kto"), ("step", 9, "bco"), ("save", 2, "kto"), ("cache", 0, "kto")],
)
def test_killed_and_resumed_is_unbroken(
    home: Path, unbroken: dict[str, Path], place: str, count: int, objective: str
) -> None:
    name, whole = f"{place}{count}", unbroken[objective]
    assert run(home, name, place, count, objective=objective) == -signal.SIGKILL
    if place == "save":
        torn = [p.name for p in (home / name / "checkpoints").iterdir() if p.suffix == ".part"]
        assert torn, "the kill must leave a torn checkpoint"
    run(home, name, "none", 0, "--resume", objective=objective)
    assert_same(whole, home / name)
    rows = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    steps = [row["step"] for row in rows if "loss" in row]
    assert steps == list(range(1, len(steps) + 1)), "one row a step"


def test_an_interrupt_saves_and_stops(home: Path, unbroken: dict[str, Path]) -> None:
    assert run(home, "interrupted", "interrupt", 5) != 0
    saved = {p.name for p in (home / "interrupted" / "checkpoints").iterdir()}
    whole = {p.name for p in (unbroken["kto"] / "checkpoints").iterdir()}
    assert saved - whole, "it must save where it was stopped, not only where it would have saved"
    run(home, "interrupted", "none", 0, "--resume")
    assert_same(unbroken["kto"], home / "interrupted")


@pytest.mark.parametrize("count", [4, 5])  # in an epoch of five steps, and at its end
def test_an_interrupt_is_no_end_of_an_epoch(home: Path, count: int) -> None:
    """transformers evaluates where an epoch ends, and takes a stop for that."""
    every = {"save_strategy": "epoch", "eval_strategy": "epoch"}
    whole, broken = f"epochs{count}", f"broken{count}"
    run(home, whole, every=every)
    assert run(home, broken, "interrupt", count - 1, every=every) != 0
    run(home, broken, "none", 0, "--resume", every=every)
    assert_same(home / whole, home / broken)


def test_a_filled_folder_is_refused_without_resume(unbroken: dict[str, Path]) -> None:
    from prefine.errors import RunFolderError
    from prefine.runs import RunFolder

    with pytest.raises(RunFolderError, match="--resume"):
        RunFolder(unbroken["kto"]).open()


def test_another_configuration_is_not_resumed(unbroken: dict[str, Path]) -> None:
    from prefine.errors import RunFolderError
    from prefine.training.config import parse
    from prefine.training.run import train

    header = yaml.safe_load((unbroken["kto"] / "run.yaml").read_text())
    header.pop("header")
    changed = parse({**header, "seed": 1})
    with pytest.raises(RunFolderError, match="another seed"):
        train(changed, resume=True, quiet=True)
