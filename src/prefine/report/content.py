"""What a report is made of: plain values, none of which is trusted to be harmless text."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from prefine.statistics import Stat


@dataclass(frozen=True, slots=True)
class Prose:
    """Paragraphs, parted by empty lines."""

    text: str
    kind: ClassVar[str] = "prose"

    @property
    def paragraphs(self) -> list[str]:
        """The paragraphs of the text."""
        return [part.strip() for part in self.text.split("\n\n") if part.strip()]


@dataclass(frozen=True, slots=True)
class Facts:
    """A table of names and values; a mapping or list as a value becomes a small list."""

    rows: Mapping[str, Any]
    kind: ClassVar[str] = "facts"


@dataclass(frozen=True, slots=True)
class Stats:
    """A table of numbers with their intervals.

    Attributes:
        rows: Name -> number.
        meanings: Name -> what the number says, in a few words.
    """

    rows: Mapping[str, Stat]
    meanings: Mapping[str, str] = field(default_factory=dict[str, str])
    kind: ClassVar[str] = "stats"


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture.

    Attributes:
        svg: Drawn by `prefine.report.figures`: the only part of a report that is not escaped.
        alt: What the picture shows, for those who do not see it.
        caption: A line below it.
    """

    svg: str
    alt: str
    caption: str = ""
    kind: ClassVar[str] = "figure"


@dataclass(frozen=True, slots=True)
class Gallery:
    """Pictures side by side."""

    figures: Sequence[Figure]
    kind: ClassVar[str] = "gallery"


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of text; `scored` marks what the loss sees."""

    text: str
    scored: bool = True


@dataclass(frozen=True, slots=True)
class Response:
    """One response of a sample.

    Attributes:
        name: Who gave it, or its role.
        text: The text, or spans where a mask is to be shown.
        facts: Numbers that belong to it, such as its reward.
        picture: Bytes of a PNG, or None. They are shown as an image and as nothing else.
    """

    name: str
    text: str | Sequence[Span]
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    picture: bytes | None = None

    @property
    def source(self) -> str:
        """The picture as an address that holds it."""
        return "data:image/png;base64," + base64.b64encode(self.picture or b"").decode("ascii")


@dataclass(frozen=True, slots=True)
class Sample:
    """A prompt with the responses to it, side by side."""

    prompt: str
    responses: Sequence[Response]


@dataclass(frozen=True, slots=True)
class Samples:
    """Samples to read."""

    items: Sequence[Sample]
    kind: ClassVar[str] = "samples"


@dataclass(frozen=True, slots=True)
class SetAside:
    """What was left out, and why.

    Attributes:
        reasons: Reason -> how many.
        used: How many were not left out.
        what: What is counted, in the plural.
    """

    reasons: Mapping[str, int]
    used: int
    what: str = "rows"
    kind: ClassVar[str] = "set_aside"


@dataclass(frozen=True, slots=True)
class Formula:
    """A formula on its own line, with the meaning of its symbols."""

    text: str
    symbols: Mapping[str, Any] = field(default_factory=dict[str, Any])
    kind: ClassVar[str] = "formula"


@dataclass(frozen=True, slots=True)
class Code:
    """Text that keeps its line breaks: a configuration, a command, a decoded row."""

    text: str
    caption: str = ""
    kind: ClassVar[str] = "code"


Block = Prose | Facts | Stats | Figure | Gallery | Samples | SetAside | Formula | Code


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what stands under it."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True, slots=True)
class Report:
    """A page.

    Attributes:
        title: Its heading.
        sections: In reading order.
        summary: One or two sentences below the heading: what happened, in words.
    """

    title: str
    sections: Sequence[Section]
    summary: str = ""
