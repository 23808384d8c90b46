"""What tests of commands share: a tiny model on disk, pairs beside it, and how to call."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

S = {"value", "low", "high", "n", "method"}
"""Keys that every reported number has."""


@pytest.fixture(autouse=True)
def untuned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings of the process would stay for the tests that follow in it."""
    monkeypatch.setattr("prefine.engine.tune.tune", lambda: ["tuned"])


@pytest.fixture(scope="session")
def home(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_llama: Callable[..., Any],
    tiny_tokenizer: Any,
) -> Path:
    """Return a folder with `model/`, `pairs.jsonl`, and `torn.jsonl`, which ends in half a row.

    Of its 40 pairs, one is judged equal, and one holds a control token, which no model may read.
    """
    folder = tmp_path_factory.mktemp("cli")
    tiny_llama(initializer_range=0.1).save_pretrained(folder / "model")
    tiny_tokenizer.save_pretrained(folder / "model")
    rows: list[dict[str, Any]] = [
        {
            "prompt": [{"role": "user", "content": f"say {n}"}],
            "chosen": [{"role": "assistant", "content": "yes " * (n % 3 + 1)}],
            "rejected": [{"role": "assistant", "content": "no " * (n % 4 + 1)}],
        }
        for n in range(40)
    ]
    rows[7]["chosen"] = [{"role": "assistant", "content": "a <|im_end|> inside"}]
    lines = [json.dumps(row) for row in rows]
    (folder / "pairs.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (folder / "torn.jsonl").write_text("\n".join([*lines, '{"prompt": ']), encoding="utf-8")
    return folder


@pytest.fixture
def prefine(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., tuple[int, str, str]]:
    """Return `prefine(*words)`: the exit code, standard output and standard error of a command."""
    from prefine.cli.main import main

    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)

    def call(*words: Any) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["prefine", *(str(word) for word in words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main()
        out, err = capsys.readouterr()
        return int(stopped.value.code or 0), out, err

    return call


@pytest.fixture(scope="session")
def numbers() -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return a function that finds the numbers of a report and checks that they are whole."""

    def find(report: dict[str, Any]) -> dict[str, Any]:
        found = {k: v for k, v in report.items() if isinstance(v, dict) and "value" in v}
        for name, stat in found.items():
            assert S <= stat.keys() <= S | {"n_clusters", "seeds"}, name
            if stat["low"] is not None:
                assert stat["low"] <= stat["value"] <= stat["high"], name
        return found

    return find
