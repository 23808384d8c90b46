"""Finished runs, and a process that knows transformers and peft, but cannot import prefine."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.start import write_start

from prefine.training.config import parse
from prefine.training.run import train

ALONE = """
import json, sys, traceback
BARRED = json.loads(sys.argv[1])
class Hides:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, path=None, target=None):
        hidden = name.partition(".")[0] in BARRED
        return None if hidden else self.finder.find_spec(name, path, target)
    def __getattr__(self, name):
        return getattr(self.finder, name)
sys.meta_path = [Hides(finder) for finder in sys.meta_path]
for name in BARRED:
    try:
        __import__(name)
    except ImportError:
        continue
    raise SystemExit(f"{name} could be imported: this proves nothing")
import torch
torch.set_num_threads(1)
for line in sys.stdin:
    asked = json.loads(line)
    sys.argv = ["alone", *asked["words"]]
    try:
        exec(asked["code"], {"__name__": "alone", "json": json, "sys": sys, "torch": torch})
    except BaseException:
        print(json.dumps({"error": traceback.format_exc()}))
    sys.stdout.flush()
"""


@pytest.fixture(scope="session")
def alone() -> Iterator[Callable[..., Any]]:
    """Return `run(code, *words, without=())`: what code prints as JSON where prefine is not.

    A process stays for the code that follows: importing transformers takes seconds.
    """
    processes: dict[tuple[str, ...], subprocess.Popen[str]] = {}

    def run(code: str, *words: object, without: tuple[str, ...] = ()) -> Any:
        barred = ("prefine", *without)
        if barred not in processes:
            command = [sys.executable, "-I", "-c", ALONE, json.dumps(barred)]
            processes[barred] = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        process = processes[barred]
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps({"code": code, "words": [*map(str, words)]}) + "\n")
        process.stdin.flush()
        found = json.loads(process.stdout.readline())
        assert "error" not in found, found["error"]
        return found

    yield run
    for process in processes.values():
        process.communicate()


@pytest.fixture(scope="session")
def start(
    tmp_path_factory: pytest.TempPathFactory, tiny_llama: Callable[..., Any], tiny_tokenizer: Any
) -> Path:
    """Return a folder with `model/` and `pairs.jsonl`, of 24 prompts."""
    model = tiny_llama(initializer_range=0.2)
    return write_start(tmp_path_factory.mktemp("start"), model, tiny_tokenizer)


@pytest.fixture(scope="session")
def finished(start: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return `run(objective, **keys)`: the folder of a run, made once for all tests."""
    made: dict[str, Path] = {}

    def run(objective: str, **keys: Any) -> Path:
        key = json.dumps([objective, keys], sort_keys=True)
        if key not in made:
            out = tmp_path_factory.mktemp("runs") / "run"
            settings = {
                "objective": objective, "model": str(start / "model"), "out": str(out),
                "data": str(start / "pairs.jsonl"), "seed": 0, **keys,
                "training": {"use_cpu": True, "learning_rate": 0.02, "save_strategy": "no"},
            }  # fmt: skip
            train(parse(settings), quiet=True)
            made[key] = out
        return made[key]

    return run


@pytest.fixture(autouse=True)
def _without_pictures(undrawn: None) -> None:
    """No test here looks at the pictures of a report; `tests/report` and `tests/cli` do."""
