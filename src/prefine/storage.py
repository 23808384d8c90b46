"""Atomic files and folders, content hashes, locks.

A reader never sees half a file: everything is written beside its destination under a temporary
name, flushed to disk, and renamed.
"""

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO


def cache_folder() -> Path:
    """Where what is computed once is kept: `$PREFINE_CACHE`, or `~/.cache/prefine`."""
    return Path(os.environ.get("PREFINE_CACHE", Path.home() / ".cache" / "prefine"))


@contextmanager
def atomic_file(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path that becomes `path` when the block ends without an error.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     with atomic_file(Path(folder) / "a.txt") as part:
        ...         _ = part.write_text("whole")
        ...     (Path(folder) / "a.txt").read_text()
        'whole'
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = _beside(path)
    part.touch(exist_ok=False)
    try:
        yield part
        with part.open("rb") as written:
            os.fsync(written.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def atomic_text(path: Path | str) -> Iterator[TextIO]:
    """Open a UTF-8 text file that appears whole, or not at all."""
    with atomic_file(path) as part, part.open("w", encoding="utf-8", newline="\n") as handle:
        yield handle


@contextmanager
def atomic_folder(path: Path | str) -> Iterator[Path]:
    """Yield a temporary folder that becomes `path` when the block ends without an error.

    An existing folder at `path` is replaced: it is moved aside first, so that a kill at any moment
    leaves the old content or the new, if perhaps under a hidden name beside it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part, old = _beside(path), _beside(path)
    part.mkdir()
    try:
        yield part
        if path.exists():
            path.replace(old)
        part.replace(path)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _beside(path: Path) -> Path:
    """A new hidden name in the same folder; `tempfile` would hide the result from other users."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.part")


def write_json(path: Path | str, value: Any, *, indent: int | None = 2) -> None:
    """Write JSON atomically; NaN and infinity are refused, because JSON has neither."""
    with atomic_text(path) as handle:
        json.dump(value, handle, indent=indent, ensure_ascii=False, allow_nan=False)
        handle.write("\n")


def content_hash(parts: Iterable[bytes | str], *, length: int = 16) -> str:
    """Return a stable hexadecimal hash of a sequence of parts; their borders count.

    Example:
        >>> content_hash(["ab", "c"]) == content_hash(["a", "bc"])
        False
    """
    digest = hashlib.sha256()
    for part in parts:
        raw = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        digest.update(len(raw).to_bytes(8, "little"))
        digest.update(raw)
    return digest.hexdigest()[:length]


def json_hash(value: Any, *, length: int = 16) -> str:
    """Return a stable hash of a JSON value; the order of keys does not matter."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return content_hash([text], length=length)
