"""Texts that are written while their source is read: what is read, what is written, in turn.

A trajectory is a response in raw text. Its assistant messages are what a translator writes, and the
token with which it asks to read; each user message is what one reading reveals. So whatever stands
before a written word is what had been read by then, and nothing else.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from prefine.errors import ConfigError, RecordError
from prefine.records.message import Message

READ = "<read>"
"""The usual token that asks to read."""

END = "\n"
"""What follows the last word of a source."""

Unit = Literal["word", "character"]
UNITS = get_args(Unit)

_CUTS = {"word": re.compile(r"\S+"), "character": re.compile(r"\S")}


def pieces(text: str, unit: Unit) -> list[str]:
    """Cut a text into what is read or written at once, each as it follows what stands before it.

    Raises:
        ConfigError: If there is no such unit.

    Example:
        >>> pieces("das  Haus", "word"), pieces("a b", "character")
        ([' das', ' Haus'], ['a', 'b'])
    """
    if unit not in UNITS:
        raise ConfigError(f"A text is cut by {' or '.join(UNITS)}, got {unit!r}.")
    return [" " * (unit == "word") + found for found in _CUTS[unit].findall(text)]


def wait_k(source: Sequence[str], target: Sequence[str], k: int, read: str) -> tuple[Message, ...]:
    r"""Return the trajectory that reads k pieces, then writes one and reads one in turn.

    Where the source ends first, the rest is written at once; where the target does, the rest is
    read before the translation ends.

    Args:
        source: What is read, piece by piece.
        target: What is written.
        k: How far reading is ahead of writing.
        read: The token that asks to read.

    Example:
        >>> for message in wait_k([" a", " b", " c"], [" A", " B"], 2, "<read>"):
        ...     print(message.role, repr(message.content))
        assistant '<read>'
        user ' a'
        assistant '<read>'
        user ' b'
        assistant ' A<read>'
        user ' c\n'
        assistant ' B'
    """
    messages: list[Message] = []
    written, said = 0, ""
    for at, piece in enumerate(source):
        while written < min(at + 1 - k, len(target)):
            said += target[written]
            written += 1
        last = at + 1 == len(source)
        messages += [
            Message("assistant", said + read), Message("user", piece + (END if last else ""))
        ]  # fmt: skip
        said = ""
    return (*messages, Message("assistant", "".join(target[written:])))


@dataclass(frozen=True, slots=True)
class Trajectory:
    """How much was read when each piece was written.

    Attributes:
        read: Pieces of the source read by then, one number for each piece that was written.
        source: Pieces of the source.
    """

    read: tuple[int, ...]
    source: int

    @classmethod
    def of(cls, messages: Sequence[Message], read: str, unit: Unit = "word") -> "Trajectory":
        """Follow a trajectory; a word counts as written with its last character.

        Args:
            messages: Of a response.
            read: The token that asks to read.
            unit: What is counted of what was written.

        Raises:
            RecordError: If the messages are no trajectory.

        Example:
            >>> source, target = [" a", " b", " c"], [" A", " B"]
            >>> Trajectory.of(wait_k(source, target, 2, "<read>"), "<read>")
            Trajectory(read=(2, 3), source=3)
        """
        text, seen = "", list[int]()
        reads = 0
        for said, reveals in _turns(messages, read):
            text += said
            seen += [reads] * len(said)
            reads += reveals
        if not reads:
            raise RecordError(f"nothing is read: no {read} stands in the response.")
        ends = [found.end() - 1 for found in _CUTS[unit].finditer(text)]
        return cls(tuple(seen[end] for end in ends), reads)


def _turns(messages: Sequence[Message], read: str) -> Iterator[tuple[str, bool]]:
    """Yield what is written between readings, and whether a reading follows."""
    asked = False
    for message in messages:
        if message.role not in ("assistant", "user") or not isinstance(message.content, str):
            raise RecordError("a trajectory is what a model writes and a user reveals, in texts.")
        said = message.content
        if message.role == "user":
            if not asked or read in said:
                raise RecordError(f"what is revealed does not follow one {read} of the model.")
            asked = False
            continue
        written, *more = said.split(read)
        if asked or len(more) > 1 or any(more):
            raise RecordError(f"nothing is revealed after a {read}.")
        asked = bool(more)
        yield written, asked
    if asked:
        raise RecordError(f"nothing is revealed after a {read}.")


def revealed(messages: Sequence[Message]) -> list[str]:
    """Return what the readings of a trajectory reveal, in order."""
    return [message.text for message in messages if message.role == "user"]
