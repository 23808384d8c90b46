"""Chat templates: from messages to text, with the border of every message known.

The text of a response is found by rendering the conversation once without it and once with it:
the second must begin with the first. A template for which it does not (one that rewrites earlier
turns) cannot be trained on safely, and the row is set aside.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefine.errors import ConfigError, TemplateError
from prefine.storage import content_hash

Message = Mapping[str, Any]

BUILT_IN = {
    "dialogue": (
        "{%- for message in messages -%}"
        "{%- if message.role == 'user' -%}{{- '\\n\\nHuman: ' + message.content -}}"
        "{%- elif message.role == 'assistant' -%}"
        "{{- '\\n\\nAssistant: ' + message.content + eos_token -}}"
        "{%- else -%}"
        "{{- '\\n\\n' + message.role | capitalize + ': ' + message.content -}}{%- endif -%}"
        "{%- endfor -%}"
        "{%- if add_generation_prompt -%}{{- '\\n\\nAssistant:' -}}{%- endif -%}"
    ),
    "chatml": (
        "{%- for message in messages -%}"
        "{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' -}}"
        "{%- endfor -%}"
        "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
    ),
}
"""Templates for tokenizers that bring none. `dialogue` reads like a transcript and needs no
special tokens."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of rendered text.

    Attributes:
        text: The characters.
        scored: True where the model is trained to produce it.
    """

    text: str
    scored: bool


@dataclass(frozen=True)
class ChatTemplate:
    """One way to turn messages into text.

    Attributes:
        tokenizer: A transformers tokenizer.
        source: Jinja text, or None for the tokenizer's own.
        name: What the run's header calls it.
    """

    tokenizer: Any
    source: str | None
    name: str

    @classmethod
    def choose(cls, tokenizer: Any, wish: str = "auto") -> "ChatTemplate":
        """Pick the template.

        Args:
            tokenizer: A transformers tokenizer.
            wish: `"auto"` (the tokenizer's own, else `dialogue`), the name of a built-in, or the
                path of a Jinja file.

        Raises:
            ConfigError: If `wish` names nothing.
        """
        if wish == "auto":
            if getattr(tokenizer, "chat_template", None):
                return cls(tokenizer, None, "the tokenizer's own")
            return cls(tokenizer, BUILT_IN["dialogue"], "dialogue (the tokenizer brings none)")
        if wish in BUILT_IN:
            return cls(tokenizer, BUILT_IN[wish], wish)
        path = Path(wish)
        if path.is_file():
            return cls(tokenizer, path.read_text(encoding="utf-8"), path.name)
        raise ConfigError(
            f"template: {wish!r} is neither a file nor one of auto, {', '.join(BUILT_IN)}."
        )

    @property
    def hash(self) -> str:
        """A hash of the template's text: part of every cached score's key."""
        return content_hash([self.source or str(getattr(self.tokenizer, "chat_template", ""))])

    def render(
        self, messages: Sequence[Message], tools: Any = None, *, generation_prompt: bool = False
    ) -> str:
        """Return the conversation as text.

        Raises:
            TemplateError: If the template refuses the messages.
        """
        try:
            return self.tokenizer.apply_chat_template(
                [_plain(message) for message in messages],
                tools=tools or None,
                chat_template=self.source,
                tokenize=False,
                add_generation_prompt=generation_prompt,
            )
        except TemplateError:
            raise
        except Exception as error:  # jinja's and the templates' own errors share no base
            raise TemplateError(f"The chat template refused the row: {error}") from error

    def pieces(
        self, context: Sequence[Message], response: Sequence[Message], tools: Any = None
    ) -> tuple[str, list[Piece]]:
        """Render a prompt, and its response as pieces that are scored or not.

        Assistant messages of the response are scored, other messages in it (tool results) are
        not; a message's own `loss` overrides either.

        Returns:
            The prompt's text, which ends where the first assistant message begins, and the
            pieces that follow it.

        Raises:
            TemplateError: If the template is not prefix-stable for this conversation.
        """
        ahead = bool(response) and response[0].get("role") == "assistant"
        prompt = self.render(context, tools, generation_prompt=ahead) if context or ahead else ""
        pieces: list[Piece] = []
        cursor, so_far = prompt, list(context)
        for message in response:
            if message.get("role") == "assistant":
                first = len(so_far) == len(context)  # then the prompt is open already
                opened = prompt if first else self.render(so_far, tools, generation_prompt=True)
                between = _continues(cursor, opened)
                if between:
                    pieces.append(Piece(between, False))
                cursor = opened
            so_far.append(message)
            after = self.render(so_far, tools)
            scored = message.get("loss")
            if scored is None:
                scored = message.get("role") == "assistant"
            pieces.append(Piece(_continues(cursor, after), bool(scored)))
            cursor = after
        return prompt, pieces


def _continues(before: str, after: str) -> str:
    if not after.startswith(before):
        raise TemplateError(
            "The chat template is not prefix-stable: with one more message it rewrites earlier "
            "text, so no part of it can be said to be the response."
        )
    return after[len(before) :]


def _plain(message: Message) -> dict[str, Any]:
    kept = {key: value for key, value in message.items() if key != "loss" and value is not None}
    content = kept.get("content")
    if isinstance(content, list):
        others = [part.get("type") for part in content if part.get("type") != "text"]
        if others:
            raise TemplateError(f"A text model cannot read a part of type {others[0]!r}.")
        kept["content"] = "".join(part.get("text") or "" for part in content)
    if "thinking" in kept:
        kept["reasoning_content"] = kept.pop("thinking")
    return kept
