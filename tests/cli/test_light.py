"""Asking for help must not wait for torch."""

import json
import subprocess
import sys

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
