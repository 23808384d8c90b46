"""Encoding one item at a time, as plainly as possible: what `TextEncoder` must agree with."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from prefine.adapters.templates import Piece
from prefine.adapters.text import TextEncoder
from prefine.errors import TemplateError


class Unusable(Exception):
    """A row that cannot be used; the text is the reason."""


class PlainEncoder:
    """Calls the tokenizer for each text of each item; Python lists throughout."""

    def __init__(self, encoder: TextEncoder) -> None:
        self.tokenizer, self.template = encoder.tokenizer, encoder.template
        self.max_length, self.truncate = encoder.max_length, encoder.truncate
        self.counts: Counter[str] = Counter()
        self.bos, self.eos = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        first = self.tokenizer("a", add_special_tokens=True)["input_ids"][:1]
        self.adds_bos = self.bos is not None and first == [self.bos]

    def rows(self, view: Any) -> Iterator[dict[str, Any]]:
        """Yield position, roles, prompts, responses and masks of the rows that can be used."""
        for at, row in enumerate(view.rows):
            try:
                items = self._fit([self._item(row, item) for item in row["items"]])
            except Unusable as reason:
                self.counts[str(reason)] += 1
                continue
            names = ("prompt", "response", "mask")
            parts = zip(*items, strict=True)
            yield {
                "at": at,
                "roles": [item["role"] for item in row["items"]],
                **{name: list(part) for name, part in zip(names, parts, strict=True)},
            }

    def _item(self, row: Mapping[str, Any], item: Mapping[str, Any]) -> tuple[list[int], ...]:
        prompt = json.loads(row["prompts"][item["prompt"]])
        response = json.loads(row["responses"][item["response"]])
        if prompt["form"] == "text":
            start = "".join(message["content"] for message in prompt["messages"])
            pieces = [Piece(m["content"], m["role"] == "assistant") for m in response]
        else:
            for message in [*prompt["messages"], *response]:
                for token in self.tokenizer.all_special_tokens:
                    if token in json.dumps(message["content"], ensure_ascii=False):
                        text = f"the text of a message contains the control token {token!r}"
                        raise Unusable(text)
            try:
                start, pieces = self.template.pieces(prompt["messages"], response, prompt["tools"])
            except TemplateError as error:
                raise Unusable(str(error)) from error
        if not any((m.get("content") or "").strip() or m.get("tool_calls") for m in response):
            raise Unusable("empty response")
        return self._tokenise(start, pieces)

    def _tokenise(self, start: str, pieces: Sequence[Piece]) -> tuple[list[int], ...]:
        prompt = self._with_one_bos(self._ids(start))
        text, ids = start, list(prompt)
        response: list[int] = []
        mask: list[int] = []
        for piece in pieces:
            text += piece.text
            whole = self._with_one_bos(self._ids(text))
            new = whole[len(ids) :]
            if whole[: len(ids)] != ids:
                self.counts["(kept) a token merged across a border: tokenised apart"] += 1
                new = self._ids(piece.text)
            ids += new
            response += new
            until_eos = len(new) - new[::-1].index(self.eos) if self.eos in new else len(new)
            scored = until_eos if piece.scored else 0
            mask += [1] * scored + [0] * (len(new) - scored)
        if 1 not in mask:
            raise Unusable("nothing of the response is scored")
        end = len(mask) - mask[::-1].index(1)
        if response[end - 1] == self.eos:
            return prompt, response[:end], mask[:end]
        return prompt, [*response, self.eos], [*mask, 1]

    def _fit(self, items: list[tuple[list[int], ...]]) -> list[tuple[list[int], ...]]:
        limit = self.max_length
        if limit is None or all(len(p) + len(r) <= limit for p, r, _ in items):
            return items
        if self.truncate == "drop":
            raise Unusable(f"longer than max_length={limit} tokens")
        room = limit - max(len(response) for _, response, _ in items)
        if room < 2:
            raise Unusable(f"the response alone fills max_length={limit} tokens")
        self.counts["(kept) prompt cut on the left"] += 1
        keep = room - self.adds_bos
        cut = [(p if len(p) <= room else p[: self.adds_bos] + p[-keep:]) for p, _, _ in items]
        return [(p, r, m) for p, (_, r, m) in zip(cut, items, strict=True)]

    def _ids(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def _with_one_bos(self, ids: list[int]) -> list[int]:
        if not self.adds_bos:
            return ids
        body = next((at for at, token in enumerate(ids) if token != self.bos), len(ids))
        if body > 1:
            self.counts["(kept) more than one BOS: reduced to one"] += 1
        return [self.bos, *ids[body:]]
