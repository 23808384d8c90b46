"""Asking for help must not wait for torch."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "transformers", "datasets", "numpy", "scipy", "matplotlib", "pandas", "starlette")

ASK = f"""
import json, sys
from prefine.cli.main import main
sys.argv = ["prefine", *sys.argv[1:]]
try:
    main()
except SystemExit as stopped:
    code = stopped.code
print(json.dumps([code, sorted(set({HEAVY!r}) & set(sys.modules))]), file=sys.stderr)
"""


@pytest.mark.parametrize(
    "words",
    [
        ("--help",),
        ("--version",),
        ("train", "--help"),
        ("data", "--help"),
        ("curate", "--help"),
        ("evaluate", "latency", "--help"),
        ("demo", "--help"),
        ("config", "from-trl", "--help"),
        ("diagnose", "--help"),
        ("compare", "--help"),
        ("export", "--help"),
        ("push", "--help"),
        ("serve", "reward", "--help"),
        ("doctor", "--help"),
        ("generate", "--help"),
        ("sami", "--help"),
        ("evaluate", "factors", "--help"),
        ("ledger", "--help"),
        ("ledger", "run", "--help"),
    ],
    ids=" ".join,
)
def test_help_imports_nothing_heavy(words: tuple[str, ...]):
    done = subprocess.run(
        [sys.executable, "-c", ASK, *words], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stderr) == [0, []]
    assert "prefine" in done.stdout.lower()


@pytest.mark.parametrize("operator", ["edits", "tutor"])
def test_rules_import_no_torch(operator: str, tmp_path: Path):
    step = {"text": "It is 5 mg."}
    told = {"id": "c0", "messages": [{"role": "assistant", "content": "It is 5 mg."}]}
    record = {
        "schema": "prefine/1", "source": {"name": "test", "row": 0},
        "context": [{"role": "user", "content": "How much?"}],
        "candidates": [{**told, "steps": [step]}],
    }  # fmt: skip
    (tmp_path / "told.jsonl").write_text(json.dumps(record))
    words = ("curate", operator, str(tmp_path / "told.jsonl"), "--out", str(tmp_path / "out.jsonl"))
    done = subprocess.run(
        [sys.executable, "-c", ASK, *words], capture_output=True, text=True, check=True
    )
    code, found = json.loads(done.stderr.splitlines()[-1])
    assert code == 0
    assert not {"torch", "transformers"} & set(found)
