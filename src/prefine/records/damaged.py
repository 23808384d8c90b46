"""Pairs with damaged versions of their responses, and the words that damage takes out."""

import hashlib
import json
import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import Any, Literal

from prefine.errors import ConfigError
from prefine.records.codec import compact
from prefine.records.ladders import ladder
from prefine.records.table import view_schema, write_table
from prefine.records.views import View

WORD = re.compile(r"(\w+(?:['’]\w+)*)")
"""Letters, digits and what joins them; where a language writes no spaces, a whole clause."""

Keys = Literal["rare", "random"]
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Rarity:
    """How many responses each word stands in, whatever its case.

    Attributes:
        responses: How many there are, each counted once.
        of: Word -> in how many of them it stands.
        median: In how many the median word stands, each word counted as often as it is said.
        share: Of all that is said, the part that is rarer.

    Example:
        >>> texts = ["the cat sat on the mat", "the dog sat on the rug"]
        >>> found = Rarity.among(texts)
        >>> found.median, [word for word in texts[0].split() if found.is_rare(word)]
        (2, ['cat', 'mat'])
    """

    responses: int
    of: Mapping[str, int]
    median: int
    share: float

    @classmethod
    def among(cls, texts: Iterable[str]) -> "Rarity":
        """Count the words of responses."""
        documents, said, seen = Counter[str](), Counter[str](), set[bytes]()
        for text in texts:
            key = hashlib.blake2b(text.encode(), digest_size=16).digest()
            if key in seen:
                continue
            seen.add(key)
            words = [word.lower() for word in WORD.findall(text)]
            said.update(words)
            documents.update(set(words))
        spread = Counter[int]()
        for word, times in said.items():
            spread[documents[word]] += times
        total, median = said.total(), 0
        sizes = sorted(spread)
        for size, below in zip(sizes, accumulate(spread[size] for size in sizes), strict=True):
            if 2 * below >= total:
                median = size
                break
        rarer = sum(times for size, times in spread.items() if size < median)
        return cls(len(seen), documents, median, rarer / total if total else 0.0)

    def is_rare(self, word: str) -> bool:
        """Whether fewer responses hold a word than hold the median one."""
        return self.of.get(word.lower(), 0) < self.median


def texts_of(view: View) -> Iterator[str]:
    """Yield what the responses of a view's pairs say."""
    for row in view.rows:
        for item in row["items"][:2]:
            yield "\n".join(_texts(json.loads(row["responses"][item["response"]])).values())


def with_damage(
    view: View,
    rarity: Rarity,
    *,
    seed: int,
    steps: int = 3,
    keys: Keys = "rare",
    filler: str = "...",
) -> tuple[View, list[int]]:
    """Return all versions of the responses of pairs, from whole to without a key word.

    A version of degree d has a filler in place of a share d / `steps` of the response's key words,
    rounded; the words that went before are among those that go next (see `ladders`). A pair is
    left out where either response has fewer key words than steps: its versions would repeat, and
    their degrees would mean nothing. Only the text of assistants is damaged, and no text that
    stands in parts beside pictures.

    Args:
        view: Pairs.
        rarity: Of words, over the responses of the data that is trained on.
        seed: Of the order in which words go.
        steps: D; degrees are 0 to D.
        keys: `rare` takes words that are rarer than the median one; `random` takes as many,
            wherever they stand, which is a control: it damages content by accident alone.
        filler: Stands where a word was, so that no word is missing to a reader who counts them.

    Returns:
        Rows with 2 (D + 1) items, roles `chosen_0` to `chosen_D` and `rejected_0` to `rejected_D`;
        and for each the number of its pair in the view.

    Raises:
        ConfigError: If the view is not of pairs.

    Source:
        SPO, arXiv:2409.17791; which words are keys, and the filler, are ours.
    """
    if view.kind != "pair":
        raise ConfigError(f"Responses are damaged in pairs, and this view is of {view.kind}s.")
    found: list[int] = []

    def rows() -> Iterator[Row]:
        for at, row in enumerate(view.rows):
            name = f"{seed}/{row['record']}/{at}"
            versions = [
                _versions(row["responses"][item["response"]], rarity, steps, keys, filler, name)
                for item in row["items"][:2]
            ]
            if all(versions):
                found.append(at)
                yield _row(row, versions)

    table = write_table(rows(), view_schema())
    recipe = {**view.recipe, "damaged": {"steps": steps, "keys": keys, "filler": filler}}
    return replace(view, rows=table, set_aside={}, recipe=recipe), found


def _texts(messages: list[dict[str, Any]]) -> dict[int, str]:
    """What assistants say in plain text, by the number of the message."""
    return {
        at: message["content"]
        for at, message in enumerate(messages)
        if message["role"] == "assistant" and isinstance(message.get("content"), str)
    }


def _versions(
    response: str, rarity: Rarity, steps: int, keys: Keys, filler: str, name: str
) -> list[str]:
    """A response as a view stores it, degree by degree; nothing where its keys are too few."""
    messages: list[dict[str, Any]] = json.loads(response)
    cut = {at: WORD.split(text) for at, text in _texts(messages).items()}  # words at odd places
    parts = [part for text in cut.values() for part in text]
    places = list(accumulate((len(text) for text in cut.values()), initial=0))
    words = [
        start + at
        for start, text in zip(places, cut.values(), strict=False)
        for at in range(1, len(text), 2)
    ]
    chosen = [at for at in words if rarity.is_rare(parts[at])]
    if len(chosen) < steps:
        return []
    rng = random.Random(f"{name}/{response}")
    if keys == "random":
        chosen = rng.sample(words, len(chosen))
    versions: list[str] = []
    for version in ladder(parts, chosen, steps=steps, filler=filler, rng=rng):
        ends = zip(cut, pairwise(places), strict=True)
        text = {at: "".join(version[start:end]) for at, (start, end) in ends}
        said = [
            {**message, "content": text.get(at, message.get("content"))}
            for at, message in enumerate(messages)
        ]
        versions.append(compact(said))
    return versions


def _row(row: Row, versions: list[list[str]]) -> Row:
    items = [
        {"prompt": item["prompt"], "response": side * len(degrees) + degree, "role": role}
        for side, (item, degrees) in enumerate(zip(row["items"][:2], versions, strict=True))
        for degree, role in enumerate(f"{item['role']}_{d}" for d in range(len(degrees)))
    ]
    unknown = [None] * len(items)
    responses = [version for degrees in versions for version in degrees]
    return {**row, "responses": responses, "items": items, "utility": unknown, "label": unknown}
