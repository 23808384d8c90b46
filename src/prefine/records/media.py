"""Media of a record: as parts of its messages, by address, by path below the data, or by bytes."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, cast
from urllib.parse import urlsplit

from prefine.errors import RecordError
from prefine.records.codec import kind_of, short
from prefine.records.message import Message, Part
from prefine.records.schema import Record

KINDS = ("image", "video", "audio")
MARKERS = {f"<{kind}>": kind for kind in KINDS}
MARKER = re.compile("|".join(MARKERS))


def medium(kind: str, value: Any) -> Part:
    """Return an image, video or audio as a part: an address, or `{bytes, path}` as Arrow has it.

    Raises:
        RecordError: If it is neither; a decoded image of memory is not data that can be stored.
    """
    if isinstance(value, str):
        return Part(kind, uri=value)
    if isinstance(value, dict) and set(value) <= {"bytes", "path"}:  # pyright: ignore[reportUnknownArgumentType]
        found = cast(dict[str, Any], value)
        if found.get("bytes") is not None or found.get("path") is not None:
            return Part(kind, uri=found.get("path"), data=found.get("bytes"))
    raise RecordError(f"the {kind} must be an address or {{bytes, path}}, got {kind_of(value)}.")


class Placed:
    """Puts the media of a row where its texts have `<image>`, `<video>` and `<audio>`.

    Example:
        >>> placed = Placed({"images": ["cat.png"]})
        >>> [part.type for part in placed.content("<image>What is it?")]
        ['image', 'text']
    """

    def __init__(self, row: Mapping[str, Any], prefix: str = "") -> None:
        self._queues: dict[str, list[Part]] = {}
        for kind in KINDS:
            values = row.get(f"{prefix}{kind}s")
            if values is None:
                continue
            if not isinstance(values, list):
                raise RecordError(f"`{prefix}{kind}s` must be a list, got {kind_of(values)}.")
            self._queues[kind] = [medium(kind, value) for value in cast(list[Any], values)]
        self.marked = False

    def content(self, text: str) -> str | tuple[Part, ...]:
        """Return a text with its media in place; a text without any stays text."""
        parts: list[Part] = []
        at = 0
        for found in MARKER.finditer(text):
            kind = MARKERS[found[0]]
            if kind not in self._queues:
                continue
            if not self._queues[kind]:
                raise RecordError(f"the texts have more {found[0]} than there are {kind}s.")
            if text[at : found.start()]:
                parts.append(Part("text", text=text[at : found.start()]))
            parts.append(self._queues[kind].pop(0))
            at = found.end()
        if not parts:
            return text
        self.marked = True
        return (*parts, *([Part("text", text=text[at:])] if text[at:] else []))

    def rest(self) -> tuple[Part, ...]:
        """Return the media that no text has asked for so far."""
        return tuple(part for queue in self._queues.values() for part in queue)

    def finish(self) -> None:
        """Refuse media that stand nowhere."""
        for kind, queue in self._queues.items():
            if queue:
                raise RecordError(
                    f"{len(queue)} more {kind}s than the texts have <{kind}>: where they belong "
                    "is not known."
                )


def unplaced(message: Message) -> tuple[str, dict[str, list[Any]]] | None:
    """Return a message's text with markers, and its media by kind; None if it holds other parts."""
    if isinstance(message.content, str):
        return message.content, {}
    text, media = "", dict[str, list[Any]]()
    for part in message.content:
        if part.type == "text":
            text += part.text or ""
        elif part.type in KINDS and (part.uri is not None or part.data is not None):
            text += f"<{part.type}>"
            value = part.uri if part.data is None else {"bytes": part.data, "path": part.uri}
            media.setdefault(f"{part.type}s", []).append(value)
        else:
            return None
    return text, media


def ambiguous(messages: Iterable[Message]) -> bool:
    """Whether texts with markers would confuse a marker with words that happen to be one."""
    said = list(messages)
    words = any(MARKER.search(message.text) for message in said)
    return words and any(not isinstance(message.content, str) for message in said)


def refuse_outside(record: Record, folder: Path | None) -> None:
    """Refuse a record whose media lie outside the folder of its data.

    A row of data must not make anyone open a private file. Addresses (`https:`) and contents
    (`data:`, bytes) are no paths; a path must stay below the folder, also through links.

    Args:
        record: The record.
        folder: Folder of the data; None for rows of the Hub and of memory, which may only name
            relative paths.

    Raises:
        RecordError: Names the path.
    """
    for part in _media(record):
        if part.uri is not None and not _inside(part.uri, folder):
            raise RecordError(
                f"the {part.type} {short(part.uri)} lies outside the data's folder. Only files "
                "below it are read: move the media there and name them by a relative path."
            )


def _media(record: Record) -> Iterable[Part]:
    for messages in (record.context, *(candidate.messages for candidate in record.candidates)):
        for message in messages:
            if isinstance(message.content, tuple):
                yield from message.content
    for candidate in record.candidates:
        for step in candidate.steps:
            if step.part is not None:
                yield step.part


def _inside(uri: str, folder: Path | None) -> bool:
    try:
        scheme = urlsplit(uri).scheme
    except ValueError:
        return False
    if len(scheme) > 1:  # a single letter is a drive of Windows
        return scheme in ("http", "https", "data", "hf", "s3", "gs")
    windows = PureWindowsPath(uri)
    if "\0" in uri or windows.drive or ".." in (*PurePosixPath(uri).parts, *windows.parts):
        return False
    if folder is None:
        return not windows.root
    try:
        root = folder.resolve()
        return (root / uri).resolve().is_relative_to(root)
    except (OSError, RuntimeError, ValueError):
        return False
