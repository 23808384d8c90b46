"""Instructions that a program can check: made for a text, so that it obeys or breaks them."""

import json
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

FAMILIES: dict[str, tuple[str, str]] = {
    "words": ("at_least_words", "at_most_words"),
    "keyword": ("contains", "avoids"),
    "start": ("starts_with", "does_not_start_with"),
    "end": ("ends_with", "does_not_end_with"),
    "script": ("ascii", "not_ascii"),
    "json": ("json", "no_json"),
    "case": ("lower_case", "upper_case"),
}
"""Checker -> its kinds of instruction; for any text there is one that it obeys, and one not."""

TEXTS = {
    "at_least_words": "Use at least {} words.",
    "at_most_words": "Use at most {} words.",
    "contains": "Use the word {}.",
    "avoids": "Do not use the word {}.",
    "starts_with": "Begin with the word {}.",
    "does_not_start_with": "Do not begin with the word {}.",
    "ends_with": "Let the last word be {}.",
    "does_not_end_with": "Do not let the last word be {}.",
    "ascii": "Use ASCII characters only.",
    "not_ascii": "Use at least one character that is not ASCII.",
    "json": "Answer with valid JSON and nothing else.",
    "no_json": "Do not answer with JSON.",
    "lower_case": "Use lower case only.",
    "upper_case": "Use at least one capital letter.",
}
SPARE = ("however", "river", "seven", "window", "because", "garden", "always", "copper")
"""Words for texts that have none of their own to ask for."""


def words(text: str) -> list[str]:
    """Return the words of a text, in lower case.

    Example:
        >>> words("It's so. So?")
        ["it's", 'so', 'so']
    """
    return re.findall(r"[\w'-]+", text.lower())


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


CHECKS: dict[str, Callable[[str, str], bool]] = {
    "at_least_words": lambda text, n: len(words(text)) >= int(n),
    "at_most_words": lambda text, n: len(words(text)) <= int(n),
    "contains": lambda text, word: word in words(text),
    "avoids": lambda text, word: word not in words(text),
    "starts_with": lambda text, word: words(text)[:1] == [word],
    "does_not_start_with": lambda text, word: words(text)[:1] != [word],
    "ends_with": lambda text, word: words(text)[-1:] == [word],
    "does_not_end_with": lambda text, word: words(text)[-1:] != [word],
    "ascii": lambda text, _: text.isascii(),
    "not_ascii": lambda text, _: not text.isascii(),
    "json": lambda text, _: _is_json(text),
    "no_json": lambda text, _: not _is_json(text),
    "lower_case": lambda text, _: text == text.lower(),
    "upper_case": lambda text, _: text != text.lower(),
}


@dataclass(frozen=True, slots=True)
class Instruction:
    """What a response is asked to be, beside what it is about.

    Attributes:
        kind: One of the kinds in `FAMILIES`.
        value: Its number or word; empty where it has none.

    Example:
        >>> short = Instruction("at_most_words", "3")
        >>> short.text, short.holds("Yes, of course."), short.holds("Yes, of course it is.")
        ('Use at most 3 words.', True, False)
    """

    kind: str
    value: str = ""

    @property
    def text(self) -> str:
        """The instruction in words."""
        return TEXTS[self.kind].format(self.value)

    def holds(self, response: str) -> bool:
        """Whether a response obeys it."""
        return CHECKS[self.kind](response, self.value)


def proposed(family: str, texts: Sequence[str]) -> Iterator[Instruction]:
    """Yield instructions of a checker whose numbers and words come from some texts.

    Example:
        >>> [one.text for one in proposed("script", ["yes"])]
        ['Use ASCII characters only.', 'Use at least one character that is not ASCII.']
    """
    found = [words(text) for text in texts]
    lengths = [len(one) for one in found]
    middle = (min(lengths) + max(lengths) + 1) // 2
    values: dict[str, set[str]] = {
        "words": {str(max(1, n)) for n in (*lengths, middle, max(lengths) + 3, min(lengths) // 2)},
        "keyword": {word for one in found for word in one},
        "start": {word for one in found for word in one[:1]},
        "end": {word for one in found for word in one[-1:]},
    }
    for kind in FAMILIES[family]:
        if family not in values:
            yield Instruction(kind)
            continue
        spare = () if family == "words" else SPARE
        for value in sorted(values[family].union(spare)):
            yield Instruction(kind, value)


def drawn(
    family: str, obeyed_by: Sequence[str], broken_by: Sequence[str], rng: random.Random
) -> Instruction | None:
    """Return an instruction of a checker that some texts obey and others break; None without any.

    Example:
        >>> told = drawn("keyword", ["a red bus"], ["a red car"], random.Random(0))
        >>> told.text in ("Use the word bus.", "Do not use the word car.")
        True
        >>> drawn("script", ["bus"], ["car"], random.Random(0)) is None
        True
    """
    fitting = [
        one
        for one in proposed(family, [*obeyed_by, *broken_by])
        if all(map(one.holds, obeyed_by)) and not any(map(one.holds, broken_by))
    ]
    return rng.choice(fitting) if fitting else None
