"""Text that would act if a page took it for markup, planted in every text field of a record."""

import html.parser
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, get_type_hints

from prefine.records import (
    Candidate,
    Judgment,
    Message,
    Origin,
    Part,
    Principal,
    Rater,
    Record,
    Source,
    Step,
)

ATTACKS = (
    "<script>window.planted=1</script>",
    '"><img src=x onerror="window.planted=2">',
    "'><svg/onload=window.planted=3>",
    "</textarea></title></style></code></pre><script>window.planted=4</script>",
    "[a](javascript:window.planted=5) ![b](x:y)",
    '````\n\n# heading\n\n<details open ontoggle="window.planted=6">\n\n',
    "{{ 7 * 191 }}{% if x %}",
    "a|b\n---\n- c\n",
)
PAYLOAD = " ".join(ATTACKS)
IN_A_NAME = (
    """"'><svg onload="window.planted=7"><img src=x onerror="window.planted=8">{{ 7 * 191 }}"""
)
"""What a file or folder may be called, with quotes, as Markdown asks for around such values."""

CLASSES = (Record, Source, Message, Part, Candidate, Origin, Step, Judgment, Rater, Principal)
FIXED = {
    (Record, "schema"), (Message, "role"), (Part, "type"), (Origin, "kind"), (Rater, "type"),
    (Judgment, "kind"),
}  # fmt: skip
"""Fields that hold one of a few words, so that nothing can be planted in them."""

KEYS = {"value", "weight", "function"}
"""Keys inside free JSON that the schema or a chat template looks for."""

INNER: Mapping[tuple[type, str], type] = {
    (Record, "source"): Source,
    (Record, "context"): Message,
    (Record, "candidates"): Candidate,
    (Record, "judgments"): Judgment,
    (Record, "principal"): Principal,
    (Candidate, "messages"): Message,
    (Candidate, "origin"): Origin,
    (Candidate, "steps"): Step,
    (Message, "content"): Part,
    (Step, "part"): Part,
    (Judgment, "rater"): Rater,
}
"""Fields that hold records of another class."""


def key_of(field: Any) -> str:
    """The name of a field in JSON."""
    return field.metadata.get("key", field.name)


def text_fields() -> set[tuple[type, str]]:
    """Every field that may hold text, by the types that the classes declare."""
    found: set[tuple[type, str]] = set()
    for cls in CLASSES:
        hints = get_type_hints(cls)
        for field in fields(cls):
            said = str(hints[field.name])
            if ("str" in said or "Any" in said) and (cls, field.name) not in FIXED:
                found.add((cls, field.name))
    return found


def full_record(number: int) -> dict[str, Any]:
    """A valid record that uses every field which may hold text."""
    rater = {
        "id": "ann", "type": "human", "group": {"taste": "plain"}, "model": "judge",
        "template_hash": "77aa", "params": {"note": ["x"]},
    }  # fmt: skip
    part = {
        "type": "text", "text": f"say {number}", "uri": "x.txt", "mime": "text/plain",
        "sha256": "aa", "id": "p", "title": "a title", "data": {"k": ["v"]},
    }  # fmt: skip
    said = {
        "name": "speaker", "tool_call_id": "t0", "thinking": "hm",
        "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}],
    }  # fmt: skip
    shown = ["c0", "c1"]
    common = {"shown": shown, "rater": rater, "aspect": "overall", "rationale": "because"}
    return {
        "schema": "prefine/1",
        "id": f"record {number}",
        "source": {"name": "a set", "split": "train", "row": "r", "license": "cc0", "url": "u"},
        "context": [
            {"role": "system", "content": [part]},
            {"role": "user", "content": f"say {number}", **said},
        ],
        "tools": [{"type": "function", "function": {"name": "f", "description": "d"}}],
        "candidates": [
            {
                "id": name,
                "messages": [{"role": "assistant", "content": f"{name} says {number}"}],
                "origin": {
                    "kind": "model", "model": "m", "sampling": {"stop": "s"}, "system": "s",
                    "parent": "c9",
                },
                "steps": [{"text": "a step"}, {"part": part}],
                "stats": {"n_chars": 4.0},
            }
            for name in shown
        ],
        "judgments": [
            {"id": "j0", "kind": "pair", "winner": "c0", **common, "raw": "A", "error": "none"},
            {"id": "j1", "kind": "rank", "ranks": {"c0": 1, "c1": 2}, **common},
            {"id": "j2", "kind": "rate", "scores": {"c0": 0.9, "c1": 0.1}, "scale": [0, 1],
             **common},
            {"id": "j3", "kind": "edit", "from": "c1", "to": "c0", "ops": ["op"], **common},
            {"id": "j4", "kind": "signal", "target": "c0", "polarity": 1, "category": ["copy"],
             "at": {"where": "here"}, "text": "thanks", "inferred_preference": "short", **common},
        ],
        "principal": {
            "id": "someone", "group": {"g": "h"}, "profile": "a person",
            "attributes": {"care": {"value": "v", "weight": 1}},
        },
        "tags": {"subset": "chat"},
        "meta": {"anything": {"else": ["text"]}},
    }  # fmt: skip


@dataclass(slots=True)
class Planter:
    """Plants text after the words of a record, the same after the same, so that names still agree.

    Attributes:
        payload: What is planted.
        touched: Fields in which something was planted.
    """

    payload: str
    touched: set[tuple[type, str]]

    def record(self, value: Mapping[str, Any], cls: type = Record) -> dict[str, Any]:
        """Return the JSON of a part of a record with text planted in all of its fields."""
        planted = dict(value)
        for field in fields(cls):
            key, at = key_of(field), (cls, field.name)
            if key not in value or at in FIXED:
                continue
            given, inner = value[key], INNER.get(at)
            if inner is not None and not isinstance(given, str):
                many = isinstance(given, list)
                made = [self.record(each, inner) for each in (given if many else [given])]
                planted[key] = made if many else made[0]
            else:
                planted[key] = self._anything(given)
            if planted[key] != given:
                self.touched.add(at)
        return planted

    def _anything(self, value: Any) -> Any:
        if isinstance(value, str):
            return f"{value} {self.payload}"
        if isinstance(value, Mapping):
            return {
                key if key in KEYS else self._anything(key): self._anything(inner)
                for key, inner in value.items()
            }
        return [self._anything(inner) for inner in value] if isinstance(value, list) else value


class Elements(html.parser.HTMLParser):
    """What a parser finds in a page: elements with their attributes, and text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[tuple[str, str, str]] = set()
        self.pieces: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {(tag, name, value or "") for name, value in attrs}

    def handle_data(self, data: str) -> None:
        self.pieces.append(data)

    @property
    def text(self) -> str:
        """All text, white space made one."""
        return " ".join("".join(self.pieces).split())


PAGE = {
    "html", "head", "meta", "title", "style", "body", "header", "h1", "h2", "p", "nav", "a", "main",
    "section", "div", "table", "thead", "tbody", "tr", "th", "td", "span", "figure", "figcaption",
    "article", "mark", "pre", "code", "img", "svg", "g", "defs", "path", "use", "text", "clippath",
    "rect",
}  # fmt: skip
CARD = {
    "h1", "h2", "p", "table", "thead", "tbody", "tr", "th", "td", "pre", "code", "ul", "li",
}  # fmt: skip
ADDRESSES = {"href", "xlink:href", "src"}


def misdeeds(page: str, allowed: set[str]) -> list[str]:
    """Return what a page has that no template of ours writes; text of any kind is no misdeed."""
    found = Elements(page)
    wrong = [f"element <{tag}>" for tag in sorted(found.tags - allowed)]
    for tag, name, value in sorted(found.attributes):
        ours = value.startswith(("#", "data:image/png;base64,"))
        if name.startswith("on") or (name in ADDRESSES and not ours):
            wrong.append(f'<{tag} {name}="{value[:60]}">')
        if name in ("style", "class", "id") and "planted" in value:
            wrong.append(f'<{tag} {name}="{value[:60]}">')
    return wrong
