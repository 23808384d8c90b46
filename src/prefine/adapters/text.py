"""From a view of records to token ids, once, for every text task.

Exactly one BOS; EOS inside the response mask; the border between prompt and response comes from
the record; nothing is cut without being counted.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from prefine.adapters.stored_rows import StoredRows
from prefine.adapters.templates import ChatTemplate, Piece
from prefine.adapters.token_ids import Ids, TokenIds
from prefine.errors import ConfigError, RecordError, TemplateError
from prefine.protocols import Prepared

Truncate = Literal["prompt_left", "error", "drop"]

VIEW_COLUMNS = ("record", "cluster", "utility", "label", "prob", "tie", "margin", "weight")
VIEW_INTEGERS = ("rater", "principal")

READ_ROWS = 100
BLOCK_ROWS = 500
BLOCK_CHARS = 1_000_000
"""Rows that are encoded together: enough to keep all cores busy, few enough to be small."""

NOTHING = r"(?!)"
"""A pattern that matches nowhere."""

Rendered = tuple[str, list[Piece]]
"""The text of a prompt, and the pieces of the response that follow it."""


class SetAside(Exception):
    """A row that cannot be used; the text is the reason, as it is counted and shown."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """One item: a prompt and one response.

    Attributes:
        prompt: [P] token ids of the prompt, one BOS first where the tokenizer uses one.
        response: [R] token ids of the response, EOS last.
        mask: [R] whether each response token is scored.
    """

    prompt: Ids
    response: Ids
    mask: NDArray[np.bool_]


@dataclass
class TextEncoder:
    """Encodes the rows of a view for a text model.

    Attributes:
        tokenizer: A transformers tokenizer.
        template: How messages become text.
        max_length: Longest prompt plus response in tokens, or None for no limit.
        truncate: What happens to a longer row: `"prompt_left"` cuts the start of the prompt
            (never the response), `"drop"` sets it aside, `"error"` stops.
        counts: What happened, reason -> rows.
    """

    tokenizer: Any
    template: ChatTemplate
    max_length: int | None = 1024
    truncate: Truncate = "prompt_left"
    counts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        if self.truncate not in ("prompt_left", "error", "drop"):
            raise ConfigError(
                f"`truncate` must be prompt_left, error or drop, got {self.truncate!r}."
            )
        if self.max_length is not None and self.max_length < 2:
            raise ConfigError(f"`max_length` must be at least 2, got {self.max_length}.")
        if self.tokenizer.eos_token_id is None:
            raise ConfigError(
                "The tokenizer has no EOS token, so a model could not learn where to stop. "
                "Set `tokenizer.eos_token` and save it again."
            )
        probe = self.tokenizer("a", add_special_tokens=True)["input_ids"]
        self._bos = self.tokenizer.bos_token_id
        self._adds_bos = self._bos is not None and probe[:1] == [self._bos]
        self._eos = np.array([self.tokenizer.eos_token_id], np.int32)
        added = self.tokenizer.added_tokens_decoder.values()  # more than those that have a name
        special = {*self.tokenizer.all_special_tokens, *(str(t) for t in added if t.special)}
        control = sorted((t for t in special if t and not t.isalnum()), key=len, reverse=True)
        self._control = re.compile("|".join(map(re.escape, control)) or NOTHING)
        self._ids = TokenIds(self.tokenizer)

    def encode(self, prompt: Mapping[str, Any], response: Sequence[Mapping[str, Any]]) -> Tokens:
        """Encode one item.

        Args:
            prompt: `{"messages", "tools", "form"}` of a view's pool.
            response: Messages of the response.

        Raises:
            SetAside: If the row cannot be used; the reason is in the exception.
        """
        return self._tokenise(*self._render(prompt, response))

    def rows(self, view: Any) -> Iterator[dict[str, Any]]:
        """Yield the encoded rows of a view; count those that are set aside in `counts`."""
        at = 0
        for block in _blocks(view.rows):
            rendered = [self._render_row(row) for row in block]
            self._ids.learn(_texts(rendered))
            for row, items in zip(block, rendered, strict=True):
                try:
                    yield {"at": at, **self._row(row, items)}
                except SetAside as reason:
                    self.counts[str(reason)] += 1
                at += 1

    def _render_row(self, row: Mapping[str, Any]) -> list[Rendered | SetAside]:
        """Render the items of a row, up to the first that cannot be used."""
        prompts = [json.loads(text) for text in row["prompts"]]
        responses = [json.loads(text) for text in row["responses"]]
        rendered: list[Rendered | SetAside] = []
        for item in row["items"]:
            try:
                rendered.append(self._render(prompts[item["prompt"]], responses[item["response"]]))
            except SetAside as reason:
                return [*rendered, reason]
        return rendered

    def _render(self, prompt: Mapping[str, Any], response: Sequence[Mapping[str, Any]]) -> Rendered:
        if prompt.get("form") == "text":
            found = _raw_text(prompt["messages"], response)
        else:
            self._refuse_control_tokens([*prompt["messages"], *response])
            try:
                found = self.template.pieces(prompt["messages"], response, prompt.get("tools"))
            except TemplateError as error:
                raise SetAside(str(error)) from error
        if not any(map(_says_something, response)):
            raise SetAside("empty response")
        return found

    def _row(
        self, row: Mapping[str, Any], rendered: Sequence[Rendered | SetAside]
    ) -> dict[str, Any]:
        items: list[Tokens] = []
        for item in rendered:
            if isinstance(item, SetAside):
                raise item
            items.append(self._tokenise(*item))
        items = self._fit(items, row["record"])
        encoded = {name: row.get(name) for name in VIEW_COLUMNS}
        encoded |= {name: row.get(name, -1) for name in VIEW_INTEGERS}
        encoded["tags"] = row.get("tags") or "{}"
        encoded["roles"] = [item["role"] for item in row["items"]]
        encoded["prompt"] = [item.prompt for item in items]
        encoded["response"] = [item.response for item in items]
        encoded["mask"] = [item.mask for item in items]
        return encoded

    def _fit(self, items: list[Tokens], record: str) -> list[Tokens]:
        if self.max_length is None:
            return items
        longest = max(len(item.prompt) + len(item.response) for item in items)
        if longest <= self.max_length:
            return items
        if self.truncate == "error":
            raise RecordError(
                f"record {record}: {longest} tokens, but max_length is {self.max_length}. Raise "
                "max_length, or choose truncate=prompt_left or truncate=drop."
            )
        if self.truncate == "drop":
            raise SetAside(f"longer than max_length={self.max_length} tokens")
        room = self.max_length - max(len(item.response) for item in items)
        if room < 2:
            raise SetAside(f"the response alone fills max_length={self.max_length} tokens")
        self.counts["(kept) prompt cut on the left"] += 1
        return [
            Tokens(self._cut_left(item.prompt, room), item.response, item.mask) for item in items
        ]

    def _cut_left(self, prompt: Ids, room: int) -> Ids:
        if len(prompt) <= room:
            return prompt
        if self._adds_bos:  # BOS is not part of what was said: it stays first
            return np.concatenate([prompt[:1], prompt[len(prompt) - room + 1 :]])
        return prompt[len(prompt) - room :]

    def _tokenise(self, start: str, pieces: Sequence[Piece]) -> Tokens:
        """Tokenise prompt and pieces so that no token crosses a border.

        Where tokenising the text as a whole keeps the border, those tokens are used; where a
        merge would cross it, the piece is tokenised alone, as it would be generated.
        """
        prompt = ids = self._with_one_bos(self._ids[start])
        response: list[Ids] = []
        mask: list[NDArray[np.bool_]] = []
        _, *texts = _growing(start, pieces)
        for piece, text in zip(pieces, texts, strict=True):
            whole = self._with_one_bos(self._ids[text])
            if np.array_equal(whole[: len(ids)], ids):
                new, ids = whole[len(ids) :], whole
            else:
                self.counts["(kept) a token merged across a border: tokenised apart"] += 1
                new = self._ids[piece.text]
                ids = np.concatenate([ids, new])
            response.append(new)
            mask.append(np.arange(len(new)) < (self._scored_until_eos(new) if piece.scored else 0))
        return self._close(prompt, np.concatenate(response), np.concatenate(mask))

    def _close(self, prompt: Ids, response: Ids, mask: NDArray[np.bool_]) -> Tokens:
        """End the response with exactly one scored EOS: the last thing the model must learn."""
        scored = np.flatnonzero(mask)
        if not len(scored):
            raise SetAside("nothing of the response is scored")
        end = int(scored[-1]) + 1
        if response[end - 1] == self._eos[0]:
            return Tokens(prompt, response[:end], mask[:end])
        return Tokens(prompt, np.concatenate([response, self._eos]), np.concatenate([mask, [True]]))

    def _scored_until_eos(self, ids: Ids) -> int:
        """How many tokens of a turn the model produces: up to EOS, not the template's tail."""
        ends = np.flatnonzero(ids == self._eos[0])
        return int(ends[-1]) + 1 if len(ends) else len(ids)

    def _with_one_bos(self, ids: Ids) -> Ids:
        if not self._adds_bos:
            return ids
        body = 0
        while body < len(ids) and ids[body] == self._bos:
            body += 1
        if body > 1:
            self.counts["(kept) more than one BOS: reduced to one"] += 1
        return ids if body == 1 else np.concatenate([np.array([self._bos], np.int32), ids[body:]])

    def _refuse_control_tokens(self, messages: Sequence[Mapping[str, Any]]) -> None:
        for message in messages:
            content = message.get("content")
            found = self._control.search(
                content if isinstance(content, str) else json.dumps(content)
            )
            if found:
                raise SetAside(
                    f"the text of a message contains the control token {found.group()!r}"
                )


def _blocks(rows: Any) -> Iterator[list[dict[str, Any]]]:
    """Cut the rows of a view into blocks, none of which is large."""
    block: list[dict[str, Any]] = []
    chars = 0
    for columns in rows.iter(READ_ROWS):
        for values in zip(*columns.values(), strict=True):
            row = dict(zip(columns, values, strict=True))
            block.append(row)
            chars += sum(map(len, row["prompts"])) + sum(map(len, row["responses"]))
            if len(block) == BLOCK_ROWS or chars > BLOCK_CHARS:
                yield block
                block, chars = [], 0
    if block:
        yield block


def _texts(
    rendered: Sequence[Sequence[Rendered | SetAside]],
) -> Iterator[Iterator[str]]:
    """Yield the texts that tokenising rendered rows asks for, but at borders that merge."""
    for items in rendered:
        for item in items:
            if not isinstance(item, SetAside):
                yield _growing(*item)


def _growing(start: str, pieces: Sequence[Piece]) -> Iterator[str]:
    """Yield the prompt's text, and the text up to the end of each piece."""
    return accumulate((piece.text for piece in pieces), initial=start)


def _says_something(message: Mapping[str, Any]) -> bool:
    content = message.get("content")
    return bool(
        message.get("tool_calls") or (content.strip() if isinstance(content, str) else content)
    )


def _raw_text(
    context: Sequence[Mapping[str, Any]], response: Sequence[Mapping[str, Any]]
) -> tuple[str, list[Piece]]:
    """Join raw text; what others say between the turns of a response is not scored."""
    start = "".join(message["content"] for message in context)
    return start, [Piece(message["content"], _is_scored(message)) for message in response]


def _is_scored(message: Mapping[str, Any]) -> bool:
    said = message.get("loss")
    return message.get("role", "assistant") == "assistant" if said is None else bool(said)


def prepare_text(encoder: TextEncoder, view: Any, *, name: str, progress: bool = False) -> Prepared:
    """Encode a whole view.

    Args:
        encoder: Where tokens come from.
        view: A `records.View`.
        name: What to call the data in messages.
        progress: Show a progress bar.

    Raises:
        RecordError: If no row is left; the reasons are in the message.
    """
    from tqdm import tqdm

    encoder.counts.clear()
    found = tqdm(encoder.rows(view), total=len(view.rows), desc=name, disable=not progress)
    rows = StoredRows.of(found)
    set_aside = {key: n for key, n in encoder.counts.items() if not key.startswith("(kept)")}
    notes = [
        f"{key.removeprefix('(kept) ')}: {n}"
        for key, n in encoder.counts.items()
        if key.startswith("(kept)")
    ]
    if not rows:
        reasons = "; ".join(f"{reason}: {n}" for reason, n in set_aside.items()) or "it is empty"
        raise RecordError(f"{name}: no row is left to train on ({reasons}).")
    return Prepared(rows, set_aside, notes, show(encoder.tokenizer, rows[0]))


def show(tokenizer: Any, row: Mapping[str, Any]) -> str:
    """Return a decoded row in which scored text stands in ⟦ ⟧, for a person to check."""
    lines = []
    for role, prompt, response, mask in zip(
        row["roles"], row["prompt"], row["response"], row["mask"], strict=True
    ):
        text = tokenizer.decode(prompt)
        for scored, ids in _runs(response, mask):
            piece = tokenizer.decode(ids)
            text += f"⟦{piece}⟧" if scored else piece
        lines.append(f"{role}: {text!r}")
    return "\n".join(lines)


def _runs(ids: Sequence[int], mask: Sequence[bool]) -> Iterator[tuple[bool, list[int]]]:
    run: list[int] = []
    for at, token in enumerate(ids):
        run.append(token)
        if at + 1 == len(ids) or mask[at + 1] != mask[at]:
            yield mask[at], run
            run = []
