"""Translations that a language model writes while it reads."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from prefine.adapters.simultaneous import read_id
from prefine.adapters.templates import ChatTemplate
from prefine.adapters.text import TextEncoder
from prefine.errors import ConfigError
from prefine.records import Message, Record
from prefine.records.streams import READ
from prefine.sampling.language import prompt_ids
from prefine.sampling.responses import end_ids


@dataclass(frozen=True)
class SimultaneousTranslator:
    """Reads and writes in turn, one source at a time, the likeliest token each time.

    It reads a first piece, and then where READ is likelier than `threshold`; else it writes the
    likeliest other token. It cannot end before the source does, nor read after it.

    Attributes:
        model: A causal language model of transformers that learnt trajectories.
        tokenizer: Its tokenizer.
        read: The token that asks to read.
        threshold: Of reading: lower reads earlier, and so writes later.
        max_new_tokens: Written tokens after which a translation is cut.

    Raises:
        ConfigError: If the tokenizer has no such token, or an option is out of range.
    """

    model: Any
    tokenizer: Any
    read: str = READ
    threshold: float = 0.5
    max_new_tokens: int = 256

    def __post_init__(self) -> None:
        """Check the options."""
        if not 0 < self.threshold < 1 or self.max_new_tokens < 1:
            raise ConfigError(
                "`threshold` must lie between 0 and 1, and `max_new_tokens` be 1 or more; got "
                f"{self.threshold} and {self.max_new_tokens}."
            )
        read_id(self.tokenizer, self.read)

    def __call__(self, record: Record, source: Sequence[str]) -> tuple[tuple[Message, ...], bool]:
        """Translate a source.

        Args:
            record: Its context is the prompt, as it was in training; in raw text.
            source: What each reading reveals, such as `records.streams.revealed` returns.

        Returns:
            The trajectory, and whether it came to its end.
        """
        encoder = TextEncoder(
            self.tokenizer, ChatTemplate.choose(self.tokenizer, "auto"), None, "error"
        )
        read, ends = read_id(self.tokenizer, self.read), end_ids(self.model, self.tokenizer)
        was_training = self.model.training
        self.model.eval()
        messages: list[Message] = []
        written: list[int] = []
        left, room, given, past = (
            list(source),
            self.max_new_tokens,
            prompt_ids(encoder, record),
            None,
        )
        while room:
            logits, past = self._next(given, past)
            token = self._choose(logits, read, ends, is_left=bool(left))
            if not messages and left:
                token = read  # there is nothing to write about yet
            if token in ends:
                break
            given = [token]
            if token == read:
                piece = left.pop(0)
                said = self.tokenizer.decode(written)
                messages += [Message("assistant", said + self.read), Message("user", piece)]
                given += self._revealed(piece)
                written = []
            else:
                written.append(token)
                room -= 1
        self.model.train(was_training)
        messages.append(Message("assistant", self.tokenizer.decode(written)))
        return tuple(messages), room > 0

    @torch.no_grad()
    def _next(self, given: Sequence[int], past: Any) -> tuple[Tensor, Any]:
        """Return the logits after more tokens, and what the model keeps of all of them."""
        ids = torch.tensor([list(given)], device=next(self.model.parameters()).device)
        out = self.model(input_ids=ids, past_key_values=past, use_cache=True)
        return out.logits[0, -1].float(), out.past_key_values

    def _choose(self, logits: Tensor, read: int, ends: Sequence[int], *, is_left: bool) -> int:
        if is_left and float(logits.softmax(-1)[read]) > self.threshold:
            return read
        barred = [read, *(ends if is_left else ())]
        return int(
            logits.index_fill(0, torch.tensor(barred, device=logits.device), -torch.inf).argmax()
        )

    def _revealed(self, piece: str) -> list[int]:
        """The tokens of a piece behind READ, where training has it, too."""
        ids = self.tokenizer(self.read + piece, add_special_tokens=False)["input_ids"]
        return ids[1:]
