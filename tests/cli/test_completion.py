"""Shell completion: what `prefine --install-completion` asks of the program on every key."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PREFINE = str(Path(sys.executable).with_name("prefine"))


def complete(shell: str, words: str) -> str:
    """Return what a shell is told when the tab key is pressed after the words."""
    settings = {
        **os.environ, "_PREFINE_COMPLETE": f"complete_{shell}", "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1), "_TYPER_COMPLETE_ARGS": words,
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }  # fmt: skip
    done = subprocess.run([PREFINE], env=settings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_commands_and_options(shell: str) -> None:
    assert "doctor" in complete(shell, "prefine doc")
    assert "reward" in complete(shell, "prefine serve r")
    if shell != "fish":
        assert "--token-file" in complete(shell, "prefine serve reward --tok")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_the_script_of_a_shell_can_be_shown(shell: str) -> None:
    settings = {**os.environ, "_PREFINE_COMPLETE": f"source_{shell}"}
    done = subprocess.run([PREFINE], env=settings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "_PREFINE_COMPLETE" in done.stdout
