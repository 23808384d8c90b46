"""Translations of whole sentences made into trajectories that read and write in turn."""

import random
from dataclasses import dataclass, replace
from typing import ClassVar

from prefine.curation.operator import Made, derived
from prefine.errors import ConfigError
from prefine.records import Candidate, Message, Record
from prefine.records.streams import READ, UNITS, Unit, pieces, wait_k
from prefine.records.votes import SetAside


@dataclass(frozen=True, slots=True, kw_only=True)
class Streams:
    r"""Translations as trajectories of a translator that reads and writes in turn, along wait-k.

    The prompt of a record is the source, and its responses are translations. Each becomes raw text
    in which the translator reads `wait` pieces, then writes one and reads one in turn; the source
    leaves the prompt. Both responses of a pair follow the same rule, so that paths do not tell good
    from bad. Judgments stay as they are: they speak of the same translations. Numbers about a
    response (`stats`) and its `steps` speak of its plain text, and do not come along.

    `sft` learns words and actions from them, and then `simulpl` preferences.

    Attributes:
        wait: k, how many pieces reading is ahead of writing; of several, one is drawn for each
            record, so that a translator learns paths of different delay.
        read: The token that asks to read; it must become one token of the model's tokenizer.
        source: What is read at once: word, or character where a script has no spaces.
        target: What is written at once.
        instruction: The prompt of what is made.
        seed: Of the draws.

    Raises:
        ConfigError: If `wait` is none or below 1, `read` is empty or holds white space, or a unit
            is unknown.

    Source:
        Wait-k: Ma et al. 2019, arXiv:1810.08398. SimulPL, arXiv:2502.00634, learns such paths and
        preferences; its data have paths of their own, and its code was not published.

    Example:
        >>> from prefine.records import load
        >>> (record,) = load([{"prompt": "ein Haus", "chosen": "a house", "rejected": "one"}])
        >>> (made,) = Streams(wait=1)(record)
        >>> "".join(message.text for message in made.candidates[0].messages)
        '<read> ein a<read> Haus\n house'
    """

    name: ClassVar[str] = "streams"

    wait: int | tuple[int, ...] = 3
    read: str = READ
    source: Unit = "word"
    target: Unit = "word"
    instruction: str = "Translate while you read."
    seed: int = 0

    def __post_init__(self) -> None:
        if not self._waits or min(self._waits) < 1:
            raise ConfigError(f"`wait` must be at least 1, or several such, got {self.wait}.")
        if not self.read or self.read.split() != [self.read]:
            raise ConfigError(f"`read` must be a word without white space, got {self.read!r}.")
        for name in ("source", "target"):
            if getattr(self, name) not in UNITS:
                raise ConfigError(
                    f"`{name}` must be {' or '.join(UNITS)}, got {getattr(self, name)!r}."
                )

    @property
    def _waits(self) -> tuple[int, ...]:
        return (self.wait,) if isinstance(self.wait, int) else self.wait

    def __call__(self, record: Record) -> Made:
        """Yield the record with trajectories in place of its responses, or why there is none."""
        made = self._made(record)
        if isinstance(made, SetAside):
            yield made
            return
        context = (Message("user", f"{self.instruction}\n"),)
        yield derived(
            record, self, 0, context=context, tools=None, candidates=made, tags={"form": "text"}
        )

    def _made(self, record: Record) -> tuple[Candidate, ...] | SetAside:
        if record.tools:
            return SetAside("a prompt with tools is no source")
        if [message.role for message in record.context] != ["user"]:
            return SetAside("the prompt is more than a source")
        if not record.candidates:
            return SetAside("no response")
        said = _text(record.context)
        source = None if said is None else pieces(said, self.source)
        if said is None or not source:
            return SetAside("the source is empty, or no text")
        wait = random.Random(f"{self.seed}/{record.id}").choice(self._waits)
        made: list[Candidate] = []
        for candidate in record.candidates:
            text = _text(candidate.messages)
            if text is None or candidate.messages[0].role != "assistant":
                return SetAside("a translation is more than one text")
            if self.read in said or self.read in text:
                return SetAside(f"a text holds {self.read}")
            target = pieces(text, self.target)
            if not target:
                return SetAside("an empty translation")
            path = wait_k(source, target, wait, self.read)
            made.append(replace(candidate, messages=path, steps=(), stats={}))
        return tuple(made)


def _text(messages: tuple[Message, ...]) -> str | None:
    """The text of a single plain message, or None."""
    if len(messages) != 1:
        return None
    message = messages[0]
    plain = isinstance(message.content, str) and not (message.tool_calls or message.thinking)
    return message.content if plain else None  # type: ignore[return-value]
