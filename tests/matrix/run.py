"""Install the wheel in a fresh environment for every cell of the matrix, and see whether it works.

A Python that is not on this machine makes its cells `absent`; cells that were not asked for keep
what an earlier run found, with its date, or stay `not run`. `make matrix` writes
docs/results/matrix.json after each cell.
"""

import argparse
import datetime
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
MINUTES = 20
"""Of one step of a cell, at most."""


def declared() -> dict[str, Any]:
    """Return the matrix: Pythons and sets of versions."""
    return tomllib.loads((HERE / "matrix.toml").read_text(encoding="utf-8"))


def find_python(wanted: str) -> str | None:
    """Return the path of a Python, from PATH or from pyenv; None where there is none that runs."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    places = [
        shutil.which(f"python{wanted}"),
        *sorted(pyenv.glob(f"{wanted}.*/bin/python{wanted}")),
    ]
    for place in places:
        if place is None:
            continue
        ask = "import sys, venv; print('%d.%d' % sys.version_info[:2])"
        done = subprocess.run([str(place), "-c", ask], capture_output=True, text=True, check=False)
        if done.stdout.strip() == wanted:
            return str(place)
    return None


def build(folder: Path) -> Path:
    """Build the wheel and return its path."""
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder), str(ROOT)]
    subprocess.run(pip, check=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def constraints(versions: dict[str, str], folder: Path) -> Path:
    """Write the pins of a cell: those of constraints.txt, and others where it asks for others.

    What an older library pins in its turn is not known beforehand, so of the rest of
    constraints.txt only torch stays.
    """
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if not versions or line.startswith(("#", "torch=="))]
    path = folder / "constraints.txt"
    pins = [f"{name}=={version}.*" for name, version in versions.items()]
    path.write_text("\n".join([*kept, *pins]) + "\n", encoding="utf-8")
    return path


def run_cell(python: str, versions: dict[str, str], wheel: Path) -> dict[str, Any]:
    """Install and try; return what came of it."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="prefine-matrix-") as name:
        folder = Path(name)
        own = folder / "env" / ("Scripts" if os.name == "nt" else "bin") / "python"
        pip = [str(own), "-m", "pip"]
        empty = folder / "work"
        empty.mkdir()
        pins = str(constraints(versions, folder))
        steps = {
            "environment": [python, "-m", "venv", str(folder / "env")],
            "install": [
                *pip,
                "install",
                "-q",
                "--disable-pip-version-check",
                "-c",
                pins,
                str(wheel),
            ],
            "check": [*pip, "check"],
            "smoke": [str(own), "-I", str(HERE / "smoke.py")],
        }
        done = None
        for step, command in steps.items():
            done = _step(command, empty)
            if done.returncode:
                why = f"{step}: {(done.stdout + done.stderr)[-1500:]}"
                return {"status": "failed", "seconds": _since(start), "why": why}
        assert done is not None
        return {
            "status": "passed",
            "seconds": _since(start),
            "installed": json.loads(done.stdout.splitlines()[-1]),
        }


def _step(command: list[str], folder: Path) -> "subprocess.CompletedProcess[str]":
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}
    settings = {**clean, "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hf")}
    settings["PREFINE_CACHE"] = str(folder / "cache")
    try:
        return subprocess.run(
            command, cwd=folder, env=settings, capture_output=True, text=True, check=False,
            timeout=60 * MINUTES,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"longer than {MINUTES} minutes")
    except OSError as error:
        return subprocess.CompletedProcess(command, 1, "", str(error))


def _since(start: float) -> float:
    return round(time.monotonic() - start, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description="Install and try the wheel everywhere.")
    parser.add_argument("--python", nargs="*", help="only these, e.g. 3.11")
    parser.add_argument("--versions", nargs="*", help="only these sets, e.g. oldest")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results" / "matrix.json")
    args = parser.parse_args()
    matrix = declared()
    cells = earlier(args.out, matrix)
    with tempfile.TemporaryDirectory(prefix="prefine-wheel-") as name:
        wheel = build(Path(name))
        for python, versions in cells:
            if python not in (args.python or [python]):
                continue
            if versions not in (args.versions or [versions]):
                continue
            found = find_python(python)
            today = {"date": datetime.datetime.now(datetime.UTC).date().isoformat()}
            if found is None:
                cell: dict[str, Any] = {"status": "absent"}
            else:
                cell = run_cell(found, matrix["versions"][versions], wheel)
            cells[python, versions] = cell | today
            print(f"{python} {versions}: {cell['status']} {cell.get('why', '')}", flush=True)
            write(args.out, cells)
    sys.exit(any(cell["status"] == "failed" for cell in cells.values()))


def earlier(path: Path, matrix: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """Return what is known of each cell of the matrix; of most new ones, nothing."""
    held = json.loads(path.read_text(encoding="utf-8"))["cells"] if path.exists() else []
    known = {(cell.pop("python"), cell.pop("versions")): cell for cell in held}
    wanted = [(python, name) for python in matrix["pythons"] for name in matrix["versions"]]
    return {at: known.get(at, {"status": "not run"}) for at in wanted}


def write(path: Path, cells: dict[tuple[str, str], dict[str, Any]]) -> None:
    """Write the cells in the order of the matrix."""
    story = {
        "command": "make matrix",
        "system": platform.platform(),
        "cells": [{"python": p, "versions": v, **cell} for (p, v), cell in cells.items()],
    }
    path.write_text(json.dumps(story, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
