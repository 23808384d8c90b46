# pyright: basic
"""Opening files: compression and encoding by content, kind by name; folders of files."""

import codecs
import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from prefine.errors import RecordError
from prefine.extras import require
from prefine.records.sources.json_rows import json_rows
from prefine.records.sources.preflib_rows import preflib_rows
from prefine.records.sources.row import Row
from prefine.records.sources.table_rows import parquet_rows, text_rows
from prefine.records.sources.xml_rows import xml_rows

KINDS = {
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".xml": "xml",
    **dict.fromkeys((".soc", ".soi", ".toc", ".toi", ".cat"), "preflib"),
}
NO_PREFERENCES = {
    ".wmd": "a weighted matching graph of PrefLib: who could be matched with whom",
    ".dat": "extra data of PrefLib, for which no format is laid down",
}
"""Endings that stand beside data prefine reads, and what they hold."""
COMPRESSIONS = (".gz", ".zst")
GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def kind_of_file(path: Path) -> str | None:
    """Return json, csv, tsv, parquet, xml or preflib by a file's name; None if it is no data.

    Example:
        >>> kind_of_file(Path("train.jsonl.gz")), kind_of_file(Path("README.md"))
        ('json', None)
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in COMPRESSIONS:
        suffixes.pop()
    return KINDS.get(suffixes[-1]) if suffixes else None


def stem(path: Path) -> str:
    """Return a file's name without the endings that say its kind and compression.

    Example:
        >>> stem(Path("data/train.v2.jsonl.gz"))
        'train.v2'
    """
    name = path.name
    for endings in (COMPRESSIONS, tuple(KINDS)):
        for ending in endings:
            if name.lower().endswith(ending):
                name = name[: -len(ending)]
                break
    return name


def file_rows(path: Path, name: str) -> Iterator[Row]:
    """Read the rows of one file in constant memory.

    Args:
        path: The file.
        name: How rows and messages call it.

    Yields:
        Rows in order; one that cannot be read carries its problem.

    Raises:
        RecordError: If the file itself cannot be read to its end.
    """
    kind = kind_of_file(path)
    if kind is None:
        held = NO_PREFERENCES.get(path.suffix.lower())
        if held is not None:
            raise RecordError(
                f"{name} is {held}. It holds no preferences over its alternatives, so there is "
                "nothing to read; orders and categories stand in .soc, .soi, .toc, .toi and .cat."
            )
        known = ", ".join(KINDS)
        raise RecordError(
            f"{name} is not a kind of file that prefine reads: {known}, each also with .gz "
            "or .zst. Rename it to say what it holds."
        )
    with _explained(name):
        if kind == "parquet":
            yield from _parquet(path, name)
            return
        newline = "" if kind == "csv" else "\n"
        with _open_text(path, name, newline) as text:
            if kind == "json":
                yield from json_rows(text, name)
            elif kind == "preflib":
                yield from preflib_rows(text, name)
            elif kind == "xml":
                yield from xml_rows(text, name)
            else:
                yield from text_rows(text, name, tabs=kind == "tsv")


def folder_files(folder: Path, split: str | None) -> list[Path]:
    """Return the data files of a folder, sorted; those of one split if named.

    A file belongs to a split if its name or its folder's name is the split, or begins with it
    and a hyphen (`train-00000-of-00002.parquet`).

    Raises:
        RecordError: If there are none.
    """
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.is_file()
        and kind_of_file(path)
        and not stem(path).endswith(".rejects")
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    if not files:
        raise RecordError(f"{folder.name} holds no data file ({', '.join(KINDS)}).")
    if split is None:
        return files
    chosen = [path for path in files if _in_split(path.relative_to(folder), split)]
    if not chosen:
        names = ", ".join(sorted({stem(path) for path in files})[:10])
        raise RecordError(f"{folder.name} has no files of split `{split}`; it has {names}.")
    return chosen


def _in_split(path: Path, split: str) -> bool:
    names = (stem(path), *path.parent.parts)
    return any(name == split or name.startswith(f"{split}-") for name in names)


def _parquet(path: Path, name: str) -> Iterator[Row]:
    if path.suffix.lower() in COMPRESSIONS:
        raise RecordError(f"{name}: Parquet compresses inside; decompress the file first.")
    yield from parquet_rows(path, name)


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """Turn the errors of a torn, unreadable or foreign file into one that says so."""
    try:
        yield
    except RecordError:
        raise
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise RecordError(
            f"{name} is damaged or ends early ({error}). How many rows are lost is not known, "
            "so none are used; fetch the file again."
        ) from None
    except UnicodeError as error:
        raise RecordError(f"{name} is not text in its encoding: {error}. Save as UTF-8.") from None
    except OSError as error:
        raise RecordError(f"{name} cannot be read: {error.strerror or error}.") from None


@contextmanager
def _open_text(path: Path, name: str, newline: str) -> Iterator[TextIO]:
    with path.open("rb") as raw, _decompressed(raw, name) as data:
        buffered = io.BufferedReader(data) if isinstance(data, io.RawIOBase) else data
        encoding = _encoding(buffered.peek(4096), name)  # type: ignore[attr-defined]
        # Bytes that are not UTF-8 survive as lone surrogates, so that only their row fails.
        errors = "surrogateescape" if encoding.startswith("utf-8") else "strict"
        yield io.TextIOWrapper(
            buffered,  # type: ignore[arg-type]
            encoding=encoding,
            errors=errors,
            newline=newline,
        )


@contextmanager
def _decompressed(raw: BinaryIO, name: str) -> Iterator[Any]:
    magic = raw.read(4)
    raw.seek(0)
    if magic.startswith(GZIP):
        with gzip.GzipFile(fileobj=raw) as data:
            yield data
    elif magic == ZSTD:
        yield _Zstd(raw)
    elif magic == b"PAR1":
        raise RecordError(f"{name} is Parquet inside; name it .parquet.")
    else:
        yield raw


def _encoding(head: bytes, name: str) -> str:
    for mark, encoding in BYTE_ORDER_MARKS:
        if head.startswith(mark):
            return encoding
    if b"\0" in head:
        raise RecordError(
            f"{name} is not text: it holds zero bytes. It is a binary file, or UTF-16 without a "
            "byte order mark; save it as UTF-8."
        )
    return "utf-8"


class _Zstd(io.RawIOBase):
    """Reads zstd frames and, unlike the library's reader, notices a frame that is cut short."""

    def __init__(self, raw: BinaryIO) -> None:
        self.library: Any = require("zstandard", extra="zstd")
        self.raw, self.pending, self.frame = raw, b"", None

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        while not self.pending:
            chunk = self.raw.read(1 << 16)
            if not chunk:
                if self.frame is not None:
                    raise EOFError("the compressed data stops inside a frame")
                return 0
            self.pending = self._decompress(chunk)
        size = min(len(target), len(self.pending))
        target[:size], self.pending = self.pending[:size], self.pending[size:]
        return size

    def _decompress(self, chunk: bytes) -> bytes:
        out = []
        try:
            while chunk:
                if self.frame is None:
                    self.frame = self.library.ZstdDecompressor().decompressobj()
                out.append(self.frame.decompress(chunk))
                chunk = b""
                if self.frame.eof:
                    chunk, self.frame = self.frame.unused_data, None
        except self.library.ZstdError as error:
            raise EOFError(str(error)) from None
        return b"".join(out)
