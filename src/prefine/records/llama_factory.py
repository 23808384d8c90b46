"""LLaMA-Factory: what its `dataset_info.json` says of a file, and which answers a row can hold."""

import json
import os
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from prefine.errors import RecordError
from prefine.records.codec import kind_of
from prefine.records.message import Message
from prefine.records.schema import Record
from prefine.records.sources.row import parse
from prefine.records.votes import decided

INFO = "dataset_info.json"
COLUMNS = {
    "prompt": "instruction",
    "query": "input",
    "response": "output",
    "messages": "conversations",
    **{
        name: name
        for name in (
            "history",
            "system",
            "tools",
            "images",
            "videos",
            "audios",
            "chosen",
            "rejected",
            "kto_tag",
        )
    },
}
"""What a column means, and how it is called unless the file says otherwise."""
TAGS = {
    "role_tag": "from",
    "content_tag": "value",
    "user_tag": "human",
    "assistant_tag": "gpt",
    "observation_tag": "observation",
    "function_tag": "function_call",
    "system_tag": "system",
}


class Described:
    """How a file's rows are laid out.

    Attributes:
        formatting: alpaca or sharegpt, None if no description was found.
        columns: Meaning -> column of the file.
        tags: Tag -> key or role of the file's messages.
    """

    def __init__(self, folder: Path | None, name: str) -> None:
        self.formatting, self.columns, self.tags = _described(folder, name, _version(folder))

    def renamed(self, row: Mapping[str, Any], formatting: str) -> dict[str, Any]:
        """Return a row with its columns called by their meaning; others keep their names.

        Raises:
            RecordError: If the file is described as another formatting.
        """
        if self.formatting not in (None, formatting):
            raise RecordError(f"{INFO} describes this file as {self.formatting}, not {formatting}.")
        meaning = {column: name for name, column in self.columns.items()}
        clash = next((k for k in row if k not in meaning and k in self.columns), None)
        if clash is not None:
            raise RecordError(
                f"the file has a column `{clash}`, which is not the one that {INFO} names "
                f"(`{self.columns[clash]}`): rename it or leave it out."
            )
        return {meaning.get(key, key): value for key, value in row.items()}


@lru_cache(maxsize=64)
def _described(
    folder: Path | None, name: str, version: tuple[int, int] | None
) -> tuple[Any, dict[str, str], dict[str, str]]:
    """Return formatting, columns and tags of a file, worked out once, not for every row."""
    entry = None
    if folder is not None and version is not None:
        entry = _entry(folder / INFO, Path(name).name)
    formatting = None if entry is None else entry.get("formatting", "alpaca")
    return formatting, _names(entry, "columns", COLUMNS), _names(entry, "tags", TAGS)


def _version(folder: Path | None) -> tuple[int, int] | None:
    """Return time and size of the description beside a file, None if there is none."""
    if folder is None:
        return None
    try:
        facts = os.stat(f"{folder}/{INFO}")
    except OSError:
        return None
    return facts.st_mtime_ns, facts.st_size


def _names(entry: dict[str, Any] | None, key: str, known: Mapping[str, str]) -> dict[str, str]:
    given: Any = {} if entry is None else entry.get(key) or {}
    if not isinstance(given, dict):
        raise RecordError(f"`{key}` of {INFO} must be an object, got {kind_of(given)}.")
    found = {name: word for name, word in cast(dict[str, Any], given).items() if word is not None}
    for name, word in found.items():
        if name not in known or not isinstance(word, str):
            raise RecordError(f"`{key}.{name}` of {INFO} is not one of {', '.join(known)}.")
    names = {**known, **found}
    if len(set(names.values())) != len(names):
        raise RecordError(f"`{key}` of {INFO} gives two things one name.")
    return names


def _entry(path: Path, name: str) -> dict[str, Any] | None:
    for entry in _read(path).values():
        if isinstance(entry, dict) and entry.get("file_name") == name:  # pyright: ignore[reportUnknownMemberType]
            return cast(dict[str, Any], entry)
    return None


def _read(path: Path) -> dict[str, Any]:
    try:
        return parse(path.read_text("utf-8-sig"))
    except (OSError, UnicodeError) as error:
        raise RecordError(f"{INFO} cannot be read: {error}") from None
    except RecordError as error:
        raise RecordError(f"{INFO}: {error}") from None


def as_text(value: Any) -> str:
    """Return JSON as LLaMA-Factory writes it into a text column."""
    return json.dumps(value, ensure_ascii=False)


def answers_of(record: Record) -> Iterable[tuple[list[Message], bool | None]]:
    """Yield the answers that a row of LLaMA-Factory can hold: two, or one with its thumb."""
    single = [
        c for c in record.candidates if len(c.messages) == 1 and c.messages[0].role == "assistant"
    ]
    for pair in decided(record):
        sides = [record.candidate(pair.chosen), record.candidate(pair.rejected)]
        if all(side in single for side in sides):
            yield [side.messages[0] for side in sides], None
    thumbs = [j for j in record.judgments if j.kind == "rate" and j.valid and j.scale == (0, 1)]
    for candidate in single:
        scores = {(j.scores or {}).get(candidate.id) for j in thumbs}
        if not record.judgments:
            yield [candidate.messages[0]], None
        elif len(record.candidates) == 1 and scores in ({0}, {1}):
            yield [candidate.messages[0]], scores == {1}
