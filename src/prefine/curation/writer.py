"""A model or a function that writes some of an operator's words: in batches, with a seed."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass, fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from prefine.errors import ConfigError
from prefine.records import Candidate, Message, Record, Records, Source, load
from prefine.records.functions import ask, function_named
from prefine.records.views import prompt_json
from prefine.records.votes import SetAside

Answer = str | SetAside
"""What was written, or why nothing that can be used was."""

PLACES = re.compile(r"\{(prompt|response)\}")


@dataclass(frozen=True, slots=True)
class Request:
    """What a writer is asked.

    Attributes:
        key: What its answer is found by.
        prompt: What the response answers, as text.
        response: What is to be written anew, as text.
    """

    key: str
    prompt: str
    response: str


@dataclass(frozen=True, slots=True)
class Writer:
    """A causal language model that follows an instruction, or a function in its place.

    A function is called as a reward function of TRL, `f(prompts=[...], completions=[...])`, and
    returns a text for each. A request is never cut to fit: one that is longer than the model reads
    gets no answer, and nor does one that holds a control token.

    Attributes:
        model: Hub name or folder, or `module:function`.
        instruction: What the model is asked, with {prompt} and {response}; None for the words of
            the operator.
        temperature: 1 draws from the model itself.
        max_new_tokens: Tokens after which an answer is cut, which sets it aside.
        batch_size: Requests at once; the same seed gives the same answers for the same one.
        template: Chat template: auto, a built-in, or a file.
        folder: Where answers are kept as they come, so that the same command goes on after a kill;
            None keeps none.

    Raises:
        ConfigError: If a number is out of range, the instruction lacks the response, or a function
            is given what only a model has.

    Example:
        >>> Writer("org/model", temperature=0.7).options()
        {'model': 'org/model', 'temperature': 0.7}
    """

    model: str
    _: KW_ONLY
    instruction: str | None = None
    temperature: float = 1.0
    max_new_tokens: int = 256
    batch_size: int = 8
    template: str = "auto"
    folder: str | None = None

    def __post_init__(self) -> None:
        if self.temperature <= 0 or self.max_new_tokens < 1 or self.batch_size < 1:
            raise ConfigError(
                "`temperature` must be above 0, `max_new_tokens` and `batch_size` 1 or more; got "
                f"{self.temperature}, {self.max_new_tokens} and {self.batch_size}."
            )
        if self.instruction is not None and "{response}" not in self.instruction:
            raise ConfigError(
                "`instruction` must hold {response}, or the model does not see what it is asked "
                f"to write anew, got {self.instruction!r}."
            )
        changed = sorted(self._changed() - {"model"})
        if self.is_function and changed:
            raise ConfigError(
                f"{self.model} is a function, which {', '.join(changed)} would do nothing for. "
                "Leave it out, or name a model."
            )

    @property
    def is_function(self) -> bool:
        """Whether a function writes."""
        return ":" in self.model and not Path(self.model).exists()

    @property
    def called(self) -> str:
        """What records name it, without the path of any machine."""
        if self.is_function:
            return self.model
        from prefine.models.load import model_name

        return model_name(self.model)

    def options(self) -> dict[str, Any]:
        """Return the model and what differs from a default, as records keep it: no paths."""
        found = {name: getattr(self, name) for name in self._changed() - {"folder", "model"}}
        if "template" in found:
            found["template"] = Path(self.template).name
        return {"model": self.called, **dict(sorted(found.items()))}

    def sampling(self, seed: int) -> dict[str, Any]:
        """Return how answers are drawn, as a candidate's origin keeps it."""
        if self.is_function:
            return {}
        return {
            "max_new_tokens": self.max_new_tokens, "temperature": self.temperature, "seed": seed,
        }  # fmt: skip

    def write(
        self,
        requests: Iterable[Request],
        instruction: str,
        *,
        seed: int = 0,
        progress: bool = False,
    ) -> dict[str, Answer]:
        """Return the answer to each request by its key, without white space around it.

        Args:
            requests: What to write; of those with one key the first counts.
            instruction: What a model is asked, with {prompt} and {response}.
            seed: The same seed gives the same answers.
            progress: Show a progress bar.

        Raises:
            ConfigError: If the model or function cannot be had, or a function returns no texts.
            RunFolderError: If `folder` holds other answers.
        """
        asked: dict[str, Request] = {}
        for one in requests:
            asked.setdefault(one.key, one)
        if self.is_function:
            return self._called(list(asked.values()))
        texts = {key: filled(instruction, one) for key, one in asked.items()}
        return self._drawn(texts, seed, progress)

    def _called(self, requests: Sequence[Request]) -> dict[str, Answer]:
        function = function_named(self.model, "model")
        pairs = Records.of(
            Record(
                source=Source("curate", row=one.key),
                context=(Message("user", one.prompt),),
                candidates=(Candidate("c0", (Message("assistant", one.response),)),),
            )
            for one in requests
        )
        found = ask(function, self.model, "model", pairs) if requests else []
        for one in found:
            if not isinstance(one, str):
                raise ConfigError(
                    f"model {self.model} returned {type(one).__name__} where a text is asked for. "
                    "It must return one text for each completion; an empty one is set aside."
                )
        return {
            one.key: text.strip() or SetAside("an empty answer")
            for one, text in zip(requests, found, strict=True)
        }

    def _drawn(self, texts: Mapping[str, str], seed: int, progress: bool) -> dict[str, Answer]:
        from prefine.models.load import load_at_hand, load_tokenizer
        from prefine.sampling import Drawing, LanguageSampler, draw_responses

        tokenizer, model = load_tokenizer(self.model), load_at_hand(self.model)
        sampler = LanguageSampler(
            model, tokenizer, self.template, self.max_new_tokens, self.temperature, self.batch_size,
            name=self.called,
        )  # fmt: skip
        fitting = _Fitting(tokenizer, self.template, _room(model, self.max_new_tokens))
        asked = {key: _request(key, text) for key, text in texts.items()}
        answers: dict[str, Answer] = {
            key: reason for key, one in asked.items() if (reason := fitting.unasked(one))
        }
        left = [one for key, one in asked.items() if key not in answers]
        if not left:
            return answers
        drawing = Drawing(
            self.model, left, 1, seed, self.batch_size,
            {**self.sampling(seed), "template": self.template},
        )  # fmt: skip
        with self._kept() as folder:
            drawn = draw_responses(lambda: sampler, drawing, folder, resume=True, progress=progress)
            for one, answered in zip(left, load(drawn.path, format="prefine"), strict=True):
                (said,) = answered.candidates
                answers[str(one.source.row)] = (
                    fitting.usable(one, said.text.strip())
                    if said.stats["finished"]
                    else SetAside(f"an answer that was cut off at {self.max_new_tokens} tokens")
                )
        return answers

    @contextmanager
    def _kept(self) -> Iterator[Path]:
        if self.folder is not None:
            yield Path(self.folder)
            return
        with TemporaryDirectory() as folder:
            yield Path(folder)

    def _changed(self) -> set[str]:
        """Names of fields that are not at their defaults."""
        return {f.name for f in fields(self) if getattr(self, f.name) != f.default}


def filled(instruction: str, request: Request) -> str:
    """Return an instruction with its places filled; braces in what fills them mean nothing.

    Example:
        >>> filled("{prompt} -> {response}", Request("k", "Say {response}", "5"))
        'Say {response} -> 5'
    """
    return PLACES.sub(lambda place: getattr(request, place[1]), instruction)


def answer_to(key: str, answers: Mapping[str, Answer] | None, option: str) -> Answer:
    """Return what a writer answered.

    Raises:
        ConfigError: If it was not asked.
    """
    if answers is None or key not in answers:
        raise ConfigError(
            f"The `{option}` has not written about this record yet: it is asked for all records "
            "before the first is made. Put them through `prefine.curation.curate`, or call "
            "`with_answers(records)` first."
        )
    return answers[key]


def is_text(context: Sequence[Message]) -> bool:
    """Whether a conversation is text alone, which is all that a writer reads."""
    return all(isinstance(message.content, str) for message in context)


def _request(key: str, text: str) -> Record:
    return Record(source=Source("curate", row=key), context=(Message("user", text),), candidates=())


def _room(model: Any, max_new_tokens: int) -> int | None:
    """Most tokens of a request; None where the model names no limit."""
    limit = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return None if limit is None else limit - max_new_tokens


class _Fitting:
    """Says which requests a model can read, and which answers training would take."""

    def __init__(self, tokenizer: Any, template: str, room: int | None) -> None:
        from prefine.adapters.templates import ChatTemplate
        from prefine.adapters.text import TextEncoder

        chosen = ChatTemplate.choose(tokenizer, template)
        self.encoder, self.room = TextEncoder(tokenizer, chosen, None, "error"), room

    def unasked(self, request: Record) -> SetAside | None:
        """Return why a request cannot be asked; None if it can."""
        found = self._tokens(request, "a")
        if isinstance(found, str):
            return SetAside(f"not asked: {found}")
        if self.room is not None and found > self.room:
            return SetAside("not asked: the model does not read as much, and nothing is cut")
        return None

    def usable(self, request: Record, text: str) -> Answer:
        """Return an answer, or why it is none."""
        if not text:
            return SetAside("an empty answer")
        found = self._tokens(request, text)
        return SetAside(f"an answer: {found}") if isinstance(found, str) else text

    def _tokens(self, request: Record, text: str) -> int | str:
        from prefine.adapters.text import SetAside as Refused

        said = [{"role": "assistant", "content": text}]
        try:
            return len(self.encoder.encode(json.loads(prompt_json(request)), said).prompt)
        except Refused as reason:
            return str(reason)
