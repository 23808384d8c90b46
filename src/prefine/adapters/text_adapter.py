"""What adapters of text share: how a view becomes batches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

from torch import nn

from prefine.adapters.layout import lay_out
from prefine.adapters.parts import split_rows
from prefine.adapters.templates import ChatTemplate
from prefine.adapters.text import TextEncoder, Truncate, prepare_text
from prefine.engine import choose_layout
from prefine.protocols import Batch, Draw, Prepared


@dataclass(frozen=True)
class TextAdapter:
    """Encodes a prompt and its response, and lays them out.

    Attributes:
        tokenizer: A transformers tokenizer.
        template: `"auto"`, a built-in template's name, or the path of a Jinja file.
        max_length: Longest prompt plus response in tokens, or None.
        truncate: What happens to a longer row: `prompt_left`, `drop` or `error`.
        progress: Show progress while encoding.
        layout: `padded` rows, which any model takes; or one `packed` row, where each prompt stands
            once for all its responses (see `engine.choose_layout`).
    """

    tokenizer: Any
    template: str = "auto"
    max_length: int | None = 1024
    truncate: Truncate = "prompt_left"
    progress: bool = False
    layout: Literal["padded", "packed"] = "padded"

    deterministic = True
    name: ClassVar[str]
    unit: ClassVar[str]
    elements = frozenset[str]()
    has_vector = False

    def prepare(self, view: Any) -> Prepared:
        """Encode a view; see `adapters.text`."""
        return prepare_text(self._encoder(), view, name=f"{view.kind} view", progress=self.progress)

    def split(
        self, rows: Sequence[Mapping[str, Any]], budget: int | None
    ) -> list[list[Mapping[str, Any]]]:
        """Cut rows into parts of at most `budget` tokens; see `adapters.parts`."""
        return split_rows(rows, budget, packed=self.layout == "packed")

    def collate(self, rows: Sequence[Mapping[str, Any]]) -> Batch:
        """Lay the items of B encoded rows out as one batch."""
        return lay_out(rows, _pad_id(self.tokenizer), packed=self.layout == "packed")

    def fitted(self, model: nn.Module) -> Self:
        """Return this adapter with the fastest layout that gives this model's own numbers."""
        return replace(self, layout=choose_layout(model, self.unit == "reward").layout)

    def draw(self, batch: Batch, model: nn.Module) -> Draw | None:
        """Nothing is random here."""
        return None

    def fingerprint(self) -> dict[str, Any]:
        """Fields that change a score."""
        packed = {} if self.layout == "padded" else {"layout": self.layout}
        return {"adapter": self.name, "template": self._chat().hash, **packed}

    def _encoder(self) -> TextEncoder:
        return TextEncoder(self.tokenizer, self._chat(), self.max_length, self.truncate)

    def _chat(self) -> ChatTemplate:
        return ChatTemplate.choose(self.tokenizer, self.template)


def _pad_id(tokenizer: Any) -> int:
    """The id to pad with; padding is masked, so EOS serves where there is no pad token."""
    return tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
