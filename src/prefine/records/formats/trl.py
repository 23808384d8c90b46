"""What the row formats of TRL have in common: sides as text or messages, and extra columns."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from prefine.errors import RecordError
from prefine.records.codec import kind_of, text, unknown_key
from prefine.records.formats.format import RowDict, number_of
from prefine.records.media import medium
from prefine.records.message import Message, Part
from prefine.records.schema import Candidate, Record

Tags = dict[str, str | int | float | bool]

EXTRAS = ("images", "image", "tools", "weight")
"""Columns that every row may have beside those of its format."""

MESSAGE_KEYS = (
    "role",
    "content",
    "name",
    "tool_calls",
    "tool_call_id",
    "thinking",
    "reasoning_content",
)
MEDIA = ("image", "video", "audio")
PART_KEYS = ("type", "text", "image", "video", "audio", "url", "path", "bytes", "image_url")


def is_side(value: Any) -> bool:
    """Whether a value looks like one side of a row: text or a list of messages."""
    return isinstance(value, str) or is_chat(value)


def is_chat(value: Any) -> bool:
    """Whether a value looks like a list of messages."""
    if not isinstance(value, list) or not value:
        return False
    return all(isinstance(item, dict) and "role" in item for item in value)  # pyright: ignore[reportUnknownVariableType]


def messages_of(row: Mapping[str, Any], key: str) -> tuple[Message, ...]:
    """Return the messages under a key.

    Raises:
        RecordError: If they are not messages of TRL's shape.
    """
    value = row.get(key)
    if not isinstance(value, list) or not value:
        raise RecordError(f"`{key}` must be a list of messages, got {kind_of(value)}.")
    found: list[Message] = []
    for at, item in enumerate(value):  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        try:
            found.append(_message(item))
        except RecordError as error:
            raise RecordError(f"{key}[{at}]: {error}") from None
    return tuple(found)


def _message(value: Any) -> Message:
    if not isinstance(value, dict):
        raise RecordError(f"a message must be an object, got {kind_of(value)}.")
    # Arrow unites the keys of all messages of a column and fills the gaps with null.
    given: dict[str, Any] = {key: item for key, item in value.items() if item is not None}  # pyright: ignore[reportUnknownVariableType]
    for key in given:
        if key not in MESSAGE_KEYS:
            raise RecordError(unknown_key(key, MESSAGE_KEYS))
    if "role" not in given:
        raise RecordError("`role` is missing.")
    content = given.pop("content", "" if given.get("tool_calls") else None)
    if content is None:
        raise RecordError("`content` is missing.")
    calls = given.pop("tool_calls", None)
    thinking = given.pop("reasoning_content", None)
    if thinking is not None and given.setdefault("thinking", thinking) != thinking:
        raise RecordError("`thinking` and `reasoning_content` differ.")
    return Message(
        content=tuple(_part(part) for part in content) if isinstance(content, list) else content,  # pyright: ignore[reportUnknownVariableType]
        tool_calls=tuple(calls) if isinstance(calls, list) else calls,  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        **given,
    )


def _part(value: Any) -> Part:
    if not isinstance(value, dict):
        raise RecordError(f"a part of `content` must be an object, got {kind_of(value)}.")
    given: dict[str, Any] = {key: item for key, item in value.items() if item is not None}  # pyright: ignore[reportUnknownVariableType]
    for key in given:
        if key not in PART_KEYS:
            raise RecordError(unknown_key(key, PART_KEYS))
    kind = given.get("type")
    if kind == "text":
        return Part("text", text=given.get("text"))
    if kind == "image_url" and isinstance(given.get("image_url"), dict):
        return Part("image", uri=given["image_url"].get("url"))
    if kind not in MEDIA:
        raise RecordError(f"`type` must be text, image_url, {', '.join(MEDIA)}, got {kind!r}.")
    content = given.get(kind, given.get("url", given.get("path")))
    return Part(kind) if content is None else medium(kind, content)


def user(prompt: str) -> tuple[Message, ...]:
    """Return a text prompt as the context of a record."""
    text("prompt", prompt)
    return (Message("user", prompt),)


def reply(key: str, value: Any) -> tuple[Message, ...]:
    """Return a text response as the messages of a candidate."""
    text(key, value)
    return (Message("assistant", value),)


def extras(row: RowDict, context: tuple[Message, ...], *, form: str) -> dict[str, Any]:
    """Return the fields of a record that TRL's extra columns fill: context, tools, tags."""
    tags: Tags = {"form": form} if form == "text" else {}
    weight = number_of(row, "weight", low=0)
    if weight is not None:
        tags["weight"] = weight
    images = row.get("images")
    if images is None:
        images = [] if row.get("image") is None else [row["image"]]
    if not isinstance(images, list):
        raise RecordError(f"`images` must be a list, got {kind_of(images)}.")
    parts = [medium("image", image) for image in cast(list[Any], images)]
    return {
        "context": _with_images(context, parts) if parts else context,
        "tools": tools_of(row.get("tools")),
        "tags": tags,
    }


def _with_images(context: tuple[Message, ...], images: list[Part]) -> tuple[Message, ...]:
    """Put images where the prompt has empty image parts, or before the first user turn's text."""
    queue = list(images)
    filled: list[Message] = []
    for message in context:
        if isinstance(message.content, tuple):
            parts = tuple(
                queue.pop(0) if queue and part == Part("image") else part
                for part in message.content
            )
            message = replace(message, content=parts)
        filled.append(message)
    if len(queue) == len(images):
        at = next((i for i, m in enumerate(filled) if m.role == "user"), None)
        if at is not None and isinstance(filled[at].content, str):
            words = Part("text", text=filled[at].text)
            filled[at] = replace(filled[at], content=(*queue, words))
            queue = []
    if queue:
        raise RecordError(
            f"{len(images)} images, but the prompt has places for {len(images) - len(queue)}."
        )
    return tuple(filled)


def tools_of(value: Any) -> tuple[Mapping[str, Any], ...] | None:
    """Return a column of tools: a list, or a list as JSON text; None if there are none.

    Raises:
        RecordError: If it is anything else.
    """
    if value is None or value == "":
        return None
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise RecordError("`tools` is text, but not JSON.") from None
    if not isinstance(value, list):
        raise RecordError(f"`tools` must be a list, got {kind_of(value)}.")
    return tuple(value) or None  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]


def is_text(record: Record, *candidates: Candidate) -> bool:
    """Whether a record was raw text and still fits: one user message, one reply each."""
    if record.tags.get("form") != "text" or len(record.context) != 1:
        return False
    said = [*record.context, *(message for c in candidates for message in c.messages)]
    plain = all(isinstance(message.content, str) for message in said)
    return plain and all(len(candidate.messages) == 1 for candidate in candidates)


def holds(record: Record, *candidates: Candidate) -> bool:
    """Whether TRL's shape can hold a record's prompt and some candidates: texts and media."""
    said = [*record.context, *(message for c in candidates for message in c.messages)]
    return all(
        part.type == "text" or part.type in MEDIA
        for message in said
        if not isinstance(message.content, str)
        for part in message.content
    )


def prompt_columns(record: Record, *, as_text: bool) -> RowDict:
    """Return the columns `prompt`, where there is one, and `tools` of an exported row."""
    row: RowDict = {}
    if record.context:
        row["prompt"] = record.context[0].text if as_text else chat(record.context)
    if record.tools is not None:
        row["tools"] = [dict(tool) for tool in record.tools]
    return row


def side(candidate: Candidate, *, as_text: bool) -> Any:
    """Return a candidate as text or as messages."""
    return candidate.messages[0].text if as_text else chat(candidate.messages)


def chat(messages: tuple[Message, ...]) -> list[RowDict]:
    """Return messages in TRL's shape."""
    return [_turn(message) for message in messages]


def _turn(message: Message) -> RowDict:
    turn: RowDict = {"role": message.role, "content": message.content}
    if not isinstance(message.content, str):
        turn["content"] = [_exported(part) for part in message.content]
    for key in ("name", "tool_call_id", "thinking"):
        if (value := getattr(message, key)) is not None:
            turn[key] = value
    if message.tool_calls is not None:
        turn["tool_calls"] = [dict(call) for call in message.tool_calls]
    return turn


def _exported(part: Part) -> RowDict:
    if part.type == "text":
        return {"type": "text", "text": part.text}
    if part.data is not None:
        return {"type": part.type, part.type: {"bytes": part.data, "path": part.uri}}
    return {"type": part.type} | ({} if part.uri is None else {part.type: part.uri})
