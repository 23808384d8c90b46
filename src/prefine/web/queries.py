"""From what a request asks to encoded rows, and from rows to rewards."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from prefine.adapters.templates import ChatTemplate
from prefine.adapters.text import TextEncoder
from prefine.errors import RecordError
from prefine.models import RewardModel

ROLE = "response_0"

Query = tuple[Any, str | None]
"""A rendered conversation or a list of messages, and the rendered prompt if it is known."""


class QueryError(Exception):
    """A query that cannot be scored; the text says why, for whoever asked."""


@dataclass(frozen=True, slots=True)
class Scored:
    """What came of a query.

    Attributes:
        reward: The model's number.
        was_cut: Whether its prompt was cut on the left to fit.
    """

    reward: float
    was_cut: bool


class Queries:
    """Scores queries with a reward model, as it was trained: `Queries(model)([query, ...])`.

    A query is either a list of messages, of which the last is the response, or a rendered
    conversation. Of a rendered one, padding at the ends is taken off, one BOS is kept, and the
    response ends with one end-of-sequence token, at which the reward is read; where the rendered
    prompt is known, a conversation that is too long loses the start of its prompt.

    Args:
        model: Whose template, longest length and weights are used.
    """

    def __init__(self, model: RewardModel) -> None:
        adapter = model.adapter
        self.model = model
        self._chat = ChatTemplate.choose(adapter.tokenizer, adapter.template)
        self._encoder = TextEncoder(adapter.tokenizer, self._chat, adapter.max_length)

    def __call__(self, queries: Sequence[Query]) -> list[Scored | QueryError]:
        """Score a batch; a query that cannot be scored does not spoil the others."""
        found: list[Scored | QueryError] = []
        rows: list[dict[str, Any]] = []
        cut: list[bool] = []
        at: list[int] = []
        for number, (query, prompt) in enumerate(queries):
            try:
                row, was_cut = self._encode(query, prompt)
            except QueryError as error:
                found.append(error)
                continue
            found.append(QueryError("not scored"))
            rows.append(row)
            cut.append(was_cut)
            at.append(number)
        values = self.model.score(rows) if rows else []
        for number, was_cut, (value,) in zip(at, cut, values, strict=True):
            if math.isfinite(value):
                found[number] = Scored(value, was_cut)
            else:
                found[number] = QueryError("the model gave no finite number")
        return found

    def _encode(self, query: Any, prompt: str | None) -> tuple[dict[str, Any], bool]:
        context, response, form = self._parts(query, prompt)
        row = {
            "record": "query",
            "prompts": [json.dumps({"messages": context, "form": form})],
            "responses": [json.dumps(response)],
            "items": [{"prompt": 0, "response": 0, "role": ROLE}],
        }
        counts = self._encoder.counts
        counts.clear()
        try:
            rows = list(self._encoder.rows(SimpleNamespace(rows=_OneRow(row))))
        except RecordError as error:
            raise QueryError(str(error)) from None
        if not rows:
            raise QueryError("; ".join(counts))
        return rows[0], any("cut on the left" in reason for reason in counts)

    def _parts(self, query: Any, prompt: str | None) -> tuple[list[Any], list[Any], str]:
        if not isinstance(query, str):
            return list(query[:-1]), list(query[-1:]), "chat"
        text = self._unpadded(query)
        start = self._unpadded(prompt, ends=False) if prompt else ""
        if not text.startswith(start) or len(text) <= len(start):
            start = ""
        response = self._closed(text[len(start) :])
        return [{"content": start}], [{"content": response}], "text"

    def _unpadded(self, text: str, *, ends: bool = True) -> str:
        pad = self.model.adapter.tokenizer.pad_token
        while pad and text.startswith(pad):
            text = text.removeprefix(pad)
        while ends and pad and text.endswith(pad):
            text = text.removesuffix(pad)
        return text

    def _closed(self, response: str) -> str:
        """A response that was not generated to its end is closed, as it was in training."""
        end = self.model.adapter.tokenizer.eos_token
        return response if response.rstrip().endswith(end) else response + end


@dataclass(frozen=True, slots=True)
class _OneRow:
    """A table of one row, as a view has it."""

    row: Mapping[str, Any]

    def iter(self, _: int) -> Iterator[dict[str, list[Any]]]:
        yield {name: [value] for name, value in self.row.items()}
