"""A picture with its own caption, and with one that is made false: pairs and points of captions."""

import json
import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal

from prefine.records.codec import compact
from prefine.records.table import view_schema, write_table
from prefine.records.views import View

LEXICON: tuple[tuple[str, ...], ...] = (
    ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white"),
    ("one", "two", "three", "four", "five", "six"),
    ("left", "right"),
    ("above", "below"),
    ("in front of", "behind"),
    ("inside", "outside"),
    ("small", "large"),
    ("square", "disk", "circle", "triangle", "cross", "cube", "sphere"),
    ("day", "night"),
    ("man", "woman"),
    ("cat", "dog", "horse", "cow", "sheep", "bird"),
    ("cars", "bicycles", "trains", "boats"),
)
"""Words of which another one of the same line makes a caption false."""

KINDS = {word: line for line in LEXICON for word in line}
WORDS = re.compile(
    r"\b(" + "|".join(map(re.escape, sorted(KINDS, key=len, reverse=True))) + r")\b", re.IGNORECASE
)


def swapped(caption: str, rng: random.Random) -> str | None:
    """Return the caption with one word exchanged for another of its kind; None without any.

    Example:
        >>> swapped("nothing known", random.Random(0)) is None
        True
        >>> swapped("a dog to the left", random.Random(1)) != "a dog to the left"
        True
    """
    found = list(WORDS.finditer(caption))
    if not found:
        return None
    word = rng.choice(found)
    line = KINDS[word[0].lower()]
    other = rng.choice([one for one in line if one != word[0].lower()])
    return caption[: word.start()] + other + caption[word.end() :]


def with_changed_captions(view: View, kind: Literal["pair", "point"], seed: int) -> View:
    """Return what a text preference asks for: a picture under its own and under a false caption.

    Args:
        view: Points, each with a picture that is worth keeping.
        kind: `pair`: both captions in a row, the own one chosen; `point`: a row each, the own one
            desirable.
        seed: Which word is exchanged, and for what.

    Returns:
        The rows; captions without a word that could be exchanged are set aside.

    Source:
        TPO (TDPO and TKTO), arXiv:2509.25771; the lexicon is ours.
    """
    aside: Counter[str] = Counter(view.set_aside)

    def rows() -> Iterator[dict[str, Any]]:
        for at, row in enumerate(view.rows):
            other = _changed(row["prompts"][0], random.Random(f"{seed}/{row['record']}/{at}"))
            if other is None:
                aside["no word of the caption to exchange"] += 1
                continue
            both = {
                **row,
                "prompts": [row["prompts"][0], other],
                "utility": [None],
                "label": [None],
            }
            if kind == "pair":
                roles = ("chosen", "rejected")
                yield both | {
                    "items": [
                        {"prompt": p, "response": 0, "role": role} for p, role in enumerate(roles)
                    ],
                    "utility": [None, None],
                    "label": [None, None],
                }
                continue
            for p in (0, 1):
                item = {"prompt": p, "response": 0, "role": "response"}
                yield both | {"items": [item], "label": [p == 0]}

    table = write_table(rows(), view_schema())
    recipe = {**view.recipe, "captions": "swap", "seed": seed}
    return replace(view, kind=kind, rows=table, set_aside=dict(aside), recipe=recipe)


def _changed(prompt: str, rng: random.Random) -> str | None:
    """The prompt as a view stores it, with a word of its last text exchanged."""
    said: dict[str, Any] = json.loads(prompt)
    last: Mapping[str, Any] = said["messages"][-1]
    if not isinstance(last["content"], str):
        return None
    text = swapped(last["content"], rng)
    if text is None:
        return None
    return compact({**said, "messages": [*said["messages"][:-1], {**last, "content": text}]})
