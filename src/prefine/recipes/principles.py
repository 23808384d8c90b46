"""Written principles and their opposites, and the constitutions that are mixed from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from prefine.errors import ConfigError
from prefine.records import Message, Record

KEEP, OPPOSE = "principle", "opposite"
"""Words of a constitution: one for each principle."""

ASK = """Follow these principles in your answer:
{principles}

{request}"""
"""How a request is put under a constitution."""


@dataclass(frozen=True)
class Principles:
    """Principles, each with its opposite, and how they are mixed.

    Attributes:
        pairs: Principle and opposite.
        constitutions: C mixtures, a word for each principle: `principle` or `opposite`.

    Raises:
        ConfigError: If there is nothing to tell apart.

    Example:
        >>> two = Principles((("Be brief.", "Be long."), ("Rhyme.", "Do not rhyme.")))
        >>> print(two.texts()[1])
        1. Be long.
        2. Do not rhyme.
    """

    pairs: tuple[tuple[str, str], ...]
    constitutions: tuple[tuple[Literal["principle", "opposite"], ...], ...] = ()

    def __post_init__(self) -> None:
        """Check them; without constitutions there are two, all principles and all opposites."""
        if not self.pairs:
            raise ConfigError("There are no principles, so there is nothing to follow.")
        for number, (one, other) in enumerate(self.pairs, 1):
            if not one.strip() or not other.strip() or one.strip() == other.strip():
                raise ConfigError(
                    f"Principle {number} and its opposite must be two different texts, got "
                    f"{one!r} and {other!r}: responses are told apart by what contradicts."
                )
        count = len(self.pairs)
        if not self.constitutions:
            both = ((KEEP,) * count, (OPPOSE,) * count)
            object.__setattr__(self, "constitutions", both)
        for number, mixed in enumerate(self.constitutions, 1):
            if len(mixed) != count or set(mixed) - {KEEP, OPPOSE}:
                raise ConfigError(
                    f"Constitution {number} must say {KEEP} or {OPPOSE} for each of {count} "
                    f"principles, got {', '.join(map(str, mixed)) or 'nothing'}."
                )
        if len(set(self.constitutions)) < max(2, len(self.constitutions)):
            raise ConfigError(
                "There must be two different constitutions or more: a response is learnt from by "
                "telling it from those that were written under another one."
            )

    def texts(self) -> list[str]:
        """Return each constitution as numbered lines."""
        return [
            "\n".join(
                f"{number}. {(pair[0] if word == KEEP else pair[1]).strip()}"
                for number, (pair, word) in enumerate(zip(self.pairs, mixed, strict=True), 1)
            )
            for mixed in self.constitutions
        ]

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object, as `read_principles` reads it."""
        return {
            "principles": [{KEEP: one, OPPOSE: other} for one, other in self.pairs],
            "constitutions": [list(mixed) for mixed in self.constitutions],
        }


def read_principles(path: Path) -> Principles:
    r"""Read a YAML file: a list of principles with their opposites.

    Or keys `principles`, that list, and `constitutions`: lists of the words `principle` and
    `opposite`, one for each principle.

    Raises:
        ConfigError: If it is something else; the message says which principle lacks what.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder) / "two.yaml"
        ...     _ = path.write_text("- principle: Be brief.\n  opposite: Be long.\n")
        ...     read_principles(path).pairs
        (('Be brief.', 'Be long.'),)
    """
    import yaml

    try:
        said = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, AttributeError, RecursionError) as error:
        raise ConfigError(f"{path}: this is not YAML. {error}") from None
    if not isinstance(said, dict):
        said = {"principles": said}
    if unknown := sorted(map(str, set(said) - {"principles", "constitutions"})):
        raise ConfigError(
            f"{path}: there is no key {unknown[0]!r}. Known: principles, constitutions."
        )
    listed, mixed = said.get("principles"), said.get("constitutions", [])
    if not isinstance(listed, list) or not listed:
        raise ConfigError(
            f"{path}: a list of principles is expected, each with `{KEEP}` and `{OPPOSE}`."
        )
    pairs = tuple(_pair(path, number, one) for number, one in enumerate(listed, 1))
    if not isinstance(mixed, list) or not all(isinstance(one, list) for one in mixed):
        raise ConfigError(f"{path}: `constitutions` must be lists of {KEEP} and {OPPOSE}.")
    if "constitutions" in said and not mixed:
        raise ConfigError(f"{path}: `constitutions` is empty. Fill or remove it.")
    try:
        return Principles(pairs, tuple(tuple(map(str, one)) for one in mixed))  # type: ignore[arg-type]
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def _pair(path: Path, number: int, said: Any) -> tuple[str, str]:
    if not isinstance(said, Mapping):
        raise ConfigError(
            f"{path}: principle {number} must have the keys `{KEEP}` and `{OPPOSE}`, got {said!r}."
        )
    for name in (KEEP, OPPOSE):
        if not isinstance(said.get(name), str) or not said[name].strip():
            raise ConfigError(
                f"{path}: principle {number} has no text under `{name}`. Responses are told apart "
                "by principles that contradict each other, so each needs both."
            )
    if unknown := sorted(map(str, set(said) - {KEEP, OPPOSE})):
        raise ConfigError(f"{path}: principle {number} has an unknown key {unknown[0]!r}.")
    return said[KEEP], said[OPPOSE]


def under(record: Record, constitution: str) -> Record | None:
    """Return a request under a constitution; None if its last turn is no text of a user.

    The constitution stands before the text of the last turn, since not every chat template takes
    a system message.
    """
    last = record.context[-1] if record.context else None
    if last is None or last.role != "user" or not isinstance(last.content, str):
        return None
    text = ASK.format(principles=constitution, request=last.content)
    context = (*record.context[:-1], Message("user", text))
    tags = {**record.tags, "cluster": record.cluster}
    return replace(record, id="", context=context, candidates=(), judgments=(), tags=tags)


def copies(text: str, constitution: str, words: int = 5) -> bool:
    """Whether a text repeats so many words of a constitution in a row.

    Example:
        >>> copies("As you say: always answer in one short line!", "1. Answer in one short line.")
        True
        >>> copies("A short line.", "1. Answer in one short line.")
        False
    """
    said, told = (_words(one) for one in (text, constitution))
    runs = {tuple(told[at : at + words]) for at in range(len(told) - words + 1)}
    return any(tuple(said[at : at + words]) in runs for at in range(len(said) - words + 1))


def _words(text: str) -> Sequence[str]:
    return ["".join(filter(str.isalnum, word)).lower() for word in text.split()]
