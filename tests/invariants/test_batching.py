"""How a batch is cut into micro-batches and processes never changes what is learned."""

import importlib.util
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

WORLDS = Path(__file__).with_name("worlds.py")
_spec = importlib.util.spec_from_file_location("invariant_worlds", WORLDS)
assert _spec is not None
assert _spec.loader is not None
worlds = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(worlds)

ALL = sorted(worlds.OBJECTIVES)


def relative_gap(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    """Norm of the difference over norm, all tensors as one vector."""
    one = torch.cat([a[name].detach().double().flatten() for name in sorted(a)])
    two = torch.cat([b[name].detach().double().flatten() for name in sorted(a)])
    return float((one - two).norm() / one.norm())


def processes(count: int, out: Path, *args: str) -> dict[str, tuple[Any, Any, Any]]:
    """Run `worlds.py` in several processes and read what the first wrote of each objective."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    running = []
    for rank in range(count):
        env = {
            **os.environ, "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count),
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "ACCELERATE_USE_CPU": "true",
            "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        command = [sys.executable, str(WORLDS), *args[:3], str(out), *args[3:]]
        running.append(
            subprocess.Popen(
                command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
        )
    said = [process.communicate(timeout=300)[0] for process in running]
    assert all(process.returncode == 0 for process in running), "\n".join(said)
    return {
        folder.name: (
            load_file(folder / "parameters.safetensors"),
            load_file(folder / "gradients.safetensors"),
            json.loads((folder / "metrics.json").read_text()),
        )
        for folder in out.iterdir()
    }


@pytest.mark.parametrize("name", ALL)
def test_eight_at_once_equal_eight_in_turn(name: str) -> None:
    whole, _, metrics, _ = worlds.fit(name, 8, 1)
    cut, _, cut_metrics, _ = worlds.fit(name, 1, 8)
    moved = relative_gap(dict(worlds.tiny(torch.float64).named_parameters()), whole)
    assert moved > 1e-3, "the run must move the parameters, or it shows nothing"
    assert relative_gap(whole, cut) < 1e-12
    for one, two in zip(metrics, cut_metrics, strict=True):
        for key in one.keys() - {"epoch"}:
            assert one[key] == pytest.approx(two[key], rel=1e-9, abs=1e-9), key


@pytest.mark.parametrize("name", ALL)
def test_gradients_are_equal_in_single_precision(name: str) -> None:
    _, whole, _, _ = worlds.fit(name, 8, 1, dtype=torch.float32, steps=1)
    _, cut, _, _ = worlds.fit(name, 1, 8, dtype=torch.float32, steps=1)
    assert relative_gap(whole, cut) < 1e-6


def test_two_processes_equal_one(tmp_path: Path) -> None:
    names = ["aot", "bco", "degrees", "dpo", "kto", "robust_em", "tdpo2", "terms"]
    found = processes(2, tmp_path, ",".join(names), "4", "1")
    assert sorted(found) == names
    for name, (two, two_gradients, two_metrics) in found.items():
        one, gradients, metrics, _ = worlds.fit(name, 8, 1)
        assert relative_gap(gradients, two_gradients) < 1e-12, name
        assert relative_gap(one, two) < 1e-12, name
        for a, b in zip(metrics, two_metrics, strict=True):
            assert a["loss"] == pytest.approx(b["loss"], rel=1e-9), name


def test_a_process_without_weight_changes_nothing(tmp_path: Path) -> None:
    one, _, _, _ = worlds.fit("dpo", 8, 1, silent=True)
    two, _, _ = processes(2, tmp_path, "dpo", "4", "1", "--silent")["dpo"]
    assert relative_gap(one, two) < 1e-12
