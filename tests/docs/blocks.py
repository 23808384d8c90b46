"""The code blocks of a page, and how they are run: in order, in one folder, as a reader would."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
FENCE = re.compile(r"^( *)(`{3,})([^\n`]*)\n(.*?)^\1\2 *$", re.DOTALL | re.MULTILINE)
FILE = re.compile(r"# (\w+\.py)\n")
"""Python that begins with a file's name is that file."""

RUN = ("bash", "python")
SHOWN = ("console", "text", "json")
"""Only shown. `console` is for what a test cannot do: upload, install, serve without end."""


def blocks(page: Path) -> list[tuple[str, str]]:
    """Return the language and the text of each code block; directives of Sphinx are none."""
    found = FENCE.findall(page.read_text(encoding="utf-8"))
    return [(said.strip(), text) for _, _, said, text in found if not said.startswith("{")]


def to_run(page: Path) -> list[tuple[str, str]]:
    """Return the blocks of a page that are run."""
    return [(language, text) for language, text in blocks(page) if language in RUN]


class Reader:
    """Someone who pastes a page's blocks into a terminal and a Python session.

    Args:
        folder: Where they stand.
        monkeypatch: Pytest's.
        names: What the Python session knows.
        apart: Start a process for every command, as a terminal does. Otherwise a line that calls
            `prefine` and nothing else runs in this process, which saves the imports.
    """

    def __init__(
        self,
        folder: Path,
        monkeypatch: pytest.MonkeyPatch,
        names: dict[str, Any] | None = None,
        *,
        apart: bool = False,
    ) -> None:
        self.monkeypatch, self.names, self.apart = monkeypatch, names or {}, apart
        monkeypatch.chdir(folder)
        # Settings of the process would stay for the tests that follow in it.
        monkeypatch.setattr("prefine.engine.tune.tune", lambda: ["tuned"])
        tools = Path(sys.executable).parent
        monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")

    def read(self, page: Path) -> None:
        """Run every block of a page that is to be run; fail where one does."""
        for language, text in to_run(page):
            if language == "python" and (name := FILE.match(text)):
                Path(name[1]).write_text(text, encoding="utf-8")
            elif language == "python":
                exec(compile(text, str(page), "exec"), self.names)
            elif self.apart:
                self._shell(text)
            else:
                for line in text.replace("\\\n", " ").splitlines():
                    self._line(line)

    def _line(self, line: str) -> None:
        words = shlex.split(line, comments=True)
        if not words:
            return
        if words[0] == "prefine" and not set(line) & set("|&;<>$"):
            self._command(words)
        else:
            self._shell(line)

    def _command(self, words: list[str]) -> None:
        from prefine.cli.main import main

        self.monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as done:
            main()
        assert not done.value.code, shlex.join(words)

    def _shell(self, text: str) -> None:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
