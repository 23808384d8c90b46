"""XML: each child of the root element is one row."""

from collections.abc import Iterator
from typing import Any, TextIO, cast
from xml.parsers import expat

from prefine.errors import RecordError
from prefine.records.sources.row import MAX_CHARS, Row

CHUNK = 1 << 16
MAX_DEPTH = 64


def xml_rows(text: TextIO, name: str) -> Iterator[Row]:
    """Read the children of the root element as nested dicts, one at a time.

    An element with children becomes an object, a repeated child a list, a leaf its text;
    attributes are keys that begin with `@`, text beside children is `#text`. Document type
    declarations are refused: entities can expand without bound or read other files. Text between
    the rows, perhaps a row that lost its tags, is a row with a problem.

    Raises:
        RecordError: If the file is not well-formed, declares a document type, or ends early.
    """
    parser = _Parser(name)
    number = 0
    while chunk := text.read(CHUNK):
        parser.feed(chunk)
        for line, value in parser.take():
            if isinstance(value, str):
                yield Row(name, number, line, "xml", None, "text stands outside of a row.", value)
            else:
                yield Row(name, number, line, "xml", value)
            number += 1
    parser.close()


class _Parser:
    def __init__(self, name: str) -> None:
        self.name = name
        # The text is decoded already; an encoding that the prolog declares no longer holds.
        self.expat = expat.ParserCreate("utf-8")
        self.expat.buffer_text = True
        self.expat.StartElementHandler = self._start
        self.expat.EndElementHandler = self._end
        self.expat.CharacterDataHandler = self._data
        self.expat.StartDoctypeDeclHandler = self._refuse
        self.open: list[tuple[dict[str, Any], list[str]]] = []
        self.done: list[tuple[int, dict[str, Any] | str]] = []
        self.line = 1
        self.size = 0

    def feed(self, chunk: str) -> None:
        try:
            self.expat.Parse(chunk.encode("utf-8", "surrogatepass"), False)
        except expat.ExpatError as error:
            self._broken(error)
        # What a row holds is kept until it ends: texts, names, attributes and empty elements.
        self.size = 0 if self.done else self.size + len(chunk)
        if self.size > MAX_CHARS:
            raise RecordError(f"{self.name}: a row is longer than {MAX_CHARS:,} characters.")

    def close(self) -> None:
        try:
            self.expat.Parse(b"", True)
        except expat.ExpatError as error:
            self._broken(error)

    def take(self) -> list[tuple[int, dict[str, Any] | str]]:
        done, self.done = self.done, []
        return done

    def _broken(self, error: expat.ExpatError) -> None:
        raise RecordError(
            f"{self.name}: line {error.lineno} is not well-formed XML "
            f"({expat.ErrorString(error.code)}), so nothing after it can be read."
        ) from None

    def _refuse(self, *_: Any) -> None:
        raise RecordError(
            f"{self.name} declares a document type (DOCTYPE). Its entities can expand without "
            "bound or read other files, so it is refused; remove the declaration."
        )

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if len(self.open) > MAX_DEPTH:
            raise RecordError(f"{self.name}: elements are nested deeper than {MAX_DEPTH} levels.")
        if len(self.open) == 1:
            self._text_outside(self.open[0][1])
            self.line = self.expat.CurrentLineNumber
        self.open.append(({f"@{key}": value for key, value in attributes.items()}, []))

    def _text_outside(self, texts: list[str]) -> None:
        text = "".join(texts)
        if text.strip():
            self.done.append((self.expat.CurrentLineNumber, text))
        texts.clear()

    def _data(self, text: str) -> None:
        if self.open:
            self.open[-1][1].append(text)

    def _end(self, tag: str) -> None:
        children, texts = self.open.pop()
        if not self.open:
            self._text_outside(texts)
            return
        text = "".join(texts)
        value: Any = text
        if children:
            value = {**children, "#text": text} if text.strip() else children
        if len(self.open) == 1:
            row: dict[str, Any] = cast(dict[str, Any], value) if children else {tag: text}
            self.done.append((self.line, row))
            return
        parent = self.open[-1][0]
        if tag not in parent:
            parent[tag] = value
        elif isinstance(parent[tag], list):
            parent[tag].append(value)
        else:
            parent[tag] = [parent[tag], value]
