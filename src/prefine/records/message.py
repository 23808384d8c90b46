"""Messages and their parts: what was said, by whom, in which form."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prefine.errors import RecordError
from prefine.records import codec

ROLES = ("system", "developer", "user", "assistant", "tool")
PART_TYPES = ("text", "image", "video", "audio", "document", "item", "action")


@dataclass(frozen=True, slots=True)
class Part:
    """One piece of a message that is not plain text alone.

    Attributes:
        type: text, image, video, audio, document, item (a thing of a catalogue) or action.
        text: The text, or a caption.
        uri: Where the content lies: a path or an address.
        mime: Media type, e.g. `"image/png"`.
        sha256: Hash of the content, hexadecimal.
        span: [start, end] in seconds, for audio and video.
        box: [left, top, right, bottom] in pixels, for images.
        id: Name of an item or a document in its collection.
        title: Title of a document.
        data: Anything else as JSON: an action's numbers, or a content as base64 text.

    Example:
        >>> Part.from_json({"type": "image", "uri": "cat.png"}).uri
        'cat.png'
    """

    type: str
    text: str | None = None
    uri: str | None = None
    mime: str | None = None
    sha256: str | None = None
    span: tuple[float, ...] | None = None
    box: tuple[float, ...] | None = None
    id: str | None = None
    title: str | None = None
    data: Any = None

    def __post_init__(self) -> None:
        codec.one_of("type", self.type, PART_TYPES)
        codec.optional_texts(self, "text", "uri", "mime", "sha256", "id", "title")
        for name, length in (("span", 2), ("box", 4)):
            value = getattr(self, name)
            codec.optional(codec.sequence, name, value, check=codec.number)
            if value is not None and len(value) != length:
                raise RecordError(f"`{name}` must hold {length} numbers, got {len(value)}.")
        codec.json_value("data", self.data)
        if self.type == "text" and self.text is None:
            raise RecordError("`text` is missing from a part of type text.")

    @classmethod
    def from_json(cls, value: Any) -> "Part":
        """Read a part from a JSON object."""
        return codec.decode(cls, value, {"span": codec.as_tuple, "box": codec.as_tuple})


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation.

    Attributes:
        role: system, developer, user, assistant or tool.
        content: Text, or parts.
        name: Name of the speaker or of the tool.
        tool_calls: Calls the assistant makes, each as the chat template expects it.
        tool_call_id: Which call a tool's message answers.
        thinking: The assistant's reasoning, kept apart from its answer.
        loss: Whether the turn is trained on; None leaves it to the role.

    Example:
        >>> Message("user", "Hello").to_json()
        {'role': 'user', 'content': 'Hello'}
    """

    role: str
    content: str | tuple[Part, ...]
    name: str | None = None
    tool_calls: tuple[Mapping[str, Any], ...] | None = None
    tool_call_id: str | None = None
    thinking: str | None = None
    loss: bool | None = None

    def __post_init__(self) -> None:
        codec.one_of("role", self.role, ROLES)
        if isinstance(self.content, tuple):
            codec.parts("content", self.content, Part, at_least=1)
        else:
            codec.text("content", self.content)
        codec.optional_texts(self, "name", "tool_call_id", "thinking")
        codec.optional(codec.sequence, "tool_calls", self.tool_calls, check=codec.mapping)
        codec.optional(codec.flag, "loss", self.loss)

    @property
    def text(self) -> str:
        """The text of the message: its content, or its text parts joined."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text or "" for part in self.content if part.type == "text")

    @classmethod
    def from_json(cls, value: Any) -> "Message":
        """Read a message from a JSON object."""
        return codec.decode(cls, value, {"content": _content, "tool_calls": codec.as_tuple})

    def to_json(self) -> dict[str, Any]:
        """Return the message as a JSON object, absent fields left out."""
        return codec.encode(self)


_parts = codec.many(Part.from_json)


def _content(value: Any) -> Any:
    return _parts(value) if isinstance(value, list) else value


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a candidate: of an argument, a plan, a denoising run.

    Attributes:
        text: The step as text.
        part: The step as a part; exactly one of `text` and `part` is given.
        label: Whether the step is right, or how good it is.
        logprob: Log-probability under the model that made it, nats.
    """

    text: str | None = None
    part: Part | None = None
    label: bool | float | None = None
    logprob: float | None = None

    def __post_init__(self) -> None:
        if (self.text is None) == (self.part is None):
            raise RecordError("a step must hold either `text` or `part`.")
        codec.optional(codec.text, "text", self.text)
        if not isinstance(self.label, bool):
            codec.optional(codec.number, "label", self.label)
        codec.optional(codec.number, "logprob", self.logprob)

    @classmethod
    def from_json(cls, value: Any) -> "Step":
        """Read a step from a JSON object."""
        return codec.decode(cls, value, {"part": Part.from_json})


def spoken(context: Sequence[Message]) -> str:
    r"""Return a conversation as text: the turn, or several with who speaks.

    Example:
        >>> spoken((Message("user", "Why?"),))
        'Why?'
        >>> spoken((Message("system", "Be brief."), Message("user", "Why?")))
        'system: Be brief.\nuser: Why?'
    """
    if len(context) == 1:
        return context[0].text
    return "\n".join(f"{message.role}: {message.text}" for message in context)
