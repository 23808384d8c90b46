"""Token ids of many texts at once: on all cores, and what is said twice encoded once."""

from array import array
from collections.abc import Iterable
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prefine.adapters.words import WORD, are_independent

Ids = NDArray[np.int32]

MOST_NEW = 0.2
NEW_AT_ONCE = 2000
"""Share of a block's words that may be new: encoding a word alone costs as much as encoding it in
five texts, so a block with more is encoded whole, and so many of its words are learned."""

KNOWN_WORDS = 100_000
LONGEST_WORD = 64
"""Words in memory, about 20 MB at most; longer ones, such as a page of Chinese, are not kept."""


class TokenIds:
    """Token ids by text, without the special tokens that a tokenizer adds.

    A fast tokenizer encodes lists of texts with its own threads. If its words can be tokenised one
    by one (see `adapters.words`), each distinct word is encoded once, and a text that continues
    another only needs the words that are new. A tokenizer written in Python encodes one text at a
    time.

    Args:
        tokenizer: A transformers tokenizer.

    Attributes:
        by_word: Whether words are encoded one by one.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.backend = _backend(tokenizer)
        self.by_word = self.backend is not None and are_independent(self.backend)
        self._texts: dict[str, Ids] = {}
        self._words: dict[str, bytes] = {}

    def learn(self, growing: Iterable[Iterable[str]]) -> None:
        """Encode texts that will be asked for, and forget earlier ones.

        Args:
            growing: Runs of texts, each of which begins with the one before it in its run.
        """
        self._texts = self._by_word(growing) if self.by_word else self._whole(growing)

    def __getitem__(self, text: str) -> Ids:
        """Return the ids of a text, known or not."""
        if text not in self._texts:
            self._texts |= self._by_word([[text]]) if self.by_word else self._whole([[text]])
        return self._texts[text]

    def _whole(self, growing: Iterable[Iterable[str]]) -> dict[str, Ids]:
        texts = list(dict.fromkeys(chain.from_iterable(growing)))
        return dict(zip(texts, self._encode(texts), strict=True))

    def _by_word(self, growing: Iterable[Iterable[str]]) -> dict[str, Ids]:
        words: dict[str, list[str]] = {"": []}  # text -> its words from where the one before ends
        before: dict[str, str] = {}
        for run in growing:
            last = ""
            for text in run:
                if text not in words:  # the last word of a text may go on in the next
                    start = len(last) - len(words[last][-1]) if words[last] else 0
                    words[text], before[text] = WORD.findall(text, start), last
                last = text
        new = list(set(chain.from_iterable(words.values())).difference(self._words))
        if len(new) > MOST_NEW * sum(map(len, words.values())):
            self._remember(new[:NEW_AT_ONCE])
            self._forget(new)
            return self._whole([before])
        self._remember(new)
        open_ended = {"": b""}  # text -> ids of all its words but the last
        found = {"": b""}
        for text, last in before.items():
            *closed, end = map(self._words.__getitem__, words[text])
            open_ended[text] = b"".join([open_ended[last], *closed])
            found[text] = open_ended[text] + end
        self._forget(new)
        return {text: np.frombuffer(ids, np.int32) for text, ids in found.items()}

    def _remember(self, new: list[str]) -> None:
        self._words.update(zip(new, (ids.tobytes() for ids in self._encode(new)), strict=True))

    def _forget(self, new: list[str]) -> None:
        """Keep the words in memory few and short."""
        if len(self._words) > KNOWN_WORDS:
            self._words.clear()
        for word in new:
            if len(word) > LONGEST_WORD:
                self._words.pop(word, None)

    def _encode(self, texts: list[str]) -> list[Ids]:
        if self.backend is None:
            found = [self.tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
        else:
            self.backend.no_truncation()  # another user of the tokenizer may have set these three
            self.backend.no_padding()
            self.backend.encode_special_tokens = False
            encoded = self.backend.encode_batch_fast(texts, add_special_tokens=False)
            found = (encoding.ids for encoding in encoded)
        return [np.frombuffer(array("i", ids), np.int32) for ids in found]  # faster than np.array


def _backend(tokenizer: Any) -> Any:
    """The Rust tokenizer behind a fast one that does not encode in a way of its own, or None."""
    from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

    kind = type(tokenizer)
    plain = (
        isinstance(tokenizer, PreTrainedTokenizerFast)
        and kind.__call__ is PreTrainedTokenizerBase.__call__
        and kind._encode_plus is PreTrainedTokenizerFast._encode_plus  # pyright: ignore
        and not tokenizer.split_special_tokens
    )
    return tokenizer.backend_tokenizer if plain else None
