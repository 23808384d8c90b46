"""Sharded training: really sharded, equal to one process, saved, resumed, exported."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

WORKER = Path(__file__).with_name("fsdp.py")

FSDP = {
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
    "FSDP_TRANSFORMER_CLS_TO_WRAP": "LlamaDecoderLayer",
    "FSDP_RESHARD_AFTER_FORWARD": "true",
    "FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT",
    "FSDP_CPU_RAM_EFFICIENT_LOADING": "false",
}


@pytest.fixture(scope="module")
def home(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_llama: Callable[..., Any],
    tiny_tokenizer: Any,
) -> Path:
    folder = tmp_path_factory.mktemp("fsdp")
    tiny_llama().save_pretrained(folder / "model")
    tiny_tokenizer.save_pretrained(folder / "model")
    rows = [
        {"prompt": f"{n} is ", "chosen": "odd " * (n % 3 + 1), "rejected": "even"}
        for n in range(19)
    ]
    (folder / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    return folder


def run(home: Path, name: str, count: int, *flags: str, env: dict[str, str] | None = None) -> str:
    """Train in `count` processes; return what they said."""
    config = {
        "objective": "dpo", "model": str(home / "model"), "data": str(home / "rows.jsonl"),
        "out": str(home / name), "options": {"beta": 0.5}, "dtype": "float64", "holdout": 0,
        "layout": "padded",  # as sharded runs are: packed rows add rounding
        "training": {
            "use_cpu": True, "learning_rate": 1e-3, "num_train_epochs": 2, "save_steps": 2,
            "per_device_train_batch_size": 8 // count, "save_strategy": "steps",
        },
    }  # fmt: skip
    path = home / f"{name}.yaml"
    path.write_text(yaml.safe_dump(config))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    running = []
    for rank in range(count):
        world = {
            "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count),
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "ACCELERATE_USE_CPU": "true",
        }  # fmt: skip
        cache = {"PREFINE_CACHE": str(home / "cache"), "OMP_NUM_THREADS": "1"}
        running.append(
            subprocess.Popen(
                [sys.executable, str(WORKER), str(path), *flags],
                env={**os.environ, **(world if count > 1 else {}), **cache, **(env or {})},
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )
        )  # fmt: skip
    return "\n".join(process.communicate(timeout=300)[0] for process in running)


def gap(one: Path, two: Path) -> float:
    a, b = (load_file(p / "model" / "model.safetensors") for p in (one, two))
    assert a.keys() == b.keys()
    return max(float((a[n] - b[n]).abs().max()) for n in a)


@pytest.mark.slow
def test_sharded_equals_one_process_resumes_and_exports(home: Path) -> None:
    said = run(home, "one", 1)
    assert (home / "one" / "model" / "model.safetensors").is_file(), said
    said = run(home, "two", 2, "--sharded", "--expect-sharded", env=FSDP)
    assert "finished" in said, said
    assert gap(home / "one", home / "two") < 1e-9

    said = run(home, "cut", 2, "--sharded", "--expect-sharded", "--stop", "3", env=FSDP)
    (home / "cut" / "summary.json").unlink()
    assert "finished" in said, said
    said = run(home, "cut", 2, "--sharded", "--expect-sharded", "--resume", env=FSDP)
    assert "finished" in said, said
    assert gap(home / "one", home / "cut") < 1e-9

    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(home / "two" / "model", dtype=torch.float64)
    assert model(input_ids=torch.tensor([[4, 5, 6]])).logits.isfinite().all()


def test_a_profile_that_is_not_honoured_stops_the_run(home: Path) -> None:
    said = run(home, "silent", 2, env=FSDP)  # accelerate alone falls back to DDP here
    assert "asks for FSDP" in said
    assert "finished" not in said
