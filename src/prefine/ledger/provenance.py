"""Where a result comes from: the commit that declared it, and the sources that made it."""

import hashlib
import importlib
import platform
import subprocess
from datetime import date
from pathlib import Path
from typing import Any

from prefine import __version__
from prefine.errors import LedgerError
from prefine.ledger.entry import Entry
from prefine.storage import content_hash

PACKAGE = Path(__file__).resolve().parents[1]
RESULTS = PACKAGE / "ledger" / "results"
"""Kept outcomes, one file an entry; they travel with the package."""


def sources(entry: Entry) -> dict[str, str]:
    """Return the hash of the experiment's file and of each world it names, by path in the package.

    They are what the entry is made of: the objectives under test are the library's own.
    """
    modules = [entry.module, *(f"prefine.ledger.worlds.{world}" for world in entry.worlds)]
    found: dict[str, str] = {}
    for name in modules:
        path = Path(importlib.import_module(name).__file__ or "")
        inside = path.resolve().relative_to(PACKAGE).as_posix()
        found[inside] = short_hash(path.read_bytes())
    return found


def short_hash(source: bytes) -> str:
    """Return what is kept of a source file's SHA-256."""
    return hashlib.sha256(source).hexdigest()[:16]


def code_hash() -> str:
    """Return a hash of all of prefine's code: runs that were cut off go on only under the same."""
    files = sorted(PACKAGE.rglob("*.py"))
    return content_hash([part for path in files for part in (path.name, path.read_bytes())])


def made(entry: Entry) -> dict[str, Any]:
    """Return date, versions and sources."""
    import torch

    return {
        "date": date.today().isoformat(), "prefine": __version__, "torch": torch.__version__,
        "python": platform.python_version(), "sources": sources(entry),
    }  # fmt: skip


def commit() -> str:
    """Return the commit that the package stands at.

    Raises:
        LedgerError: If the package is not in a git checkout, or differs from the commit: a result
            names what declared it, so that comes first.
    """
    changed = git("status", "--porcelain", "--untracked-files=all", "--", "*.py")
    if changed is None:
        raise LedgerError(
            "Results are recorded from a git checkout of prefine, because they name the commit "
            "that declared their bounds. Leave --record out to only see them."
        )
    if changed:
        raise LedgerError(
            "Bounds, worlds and code are committed before their first result, but these files are "
            f"not:\n{changed}\nCommit them, or leave --record out to only see what comes of it."
        )
    return git("rev-parse", "HEAD") or ""


def git(*arguments: str) -> str | None:
    """Return what git says about the package's folder, None where it cannot say."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=PACKAGE, capture_output=True, encoding="utf-8", check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.rstrip("\n")
