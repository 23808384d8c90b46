"""Responses of a language model, drawn with a seed, with the log-probability of each."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from prefine.adapters.templates import ChatTemplate
from prefine.adapters.text import SetAside, TextEncoder
from prefine.errors import ConfigError, RecordError
from prefine.protocols import Rollouts
from prefine.records import Record, Records
from prefine.records.views import prompt_json
from prefine.sampling.responses import answered, end_ids, left_padded, until_end


@dataclass(frozen=True)
class LanguageSampler:
    """Draws responses at a temperature, from a model or from a mixture of it and a reference.

    Attributes:
        model: A causal language model of transformers.
        tokenizer: Its tokenizer.
        template: Chat template, as adapters take it.
        max_new_tokens: Tokens after which a response is cut; `finished` tells which were.
        temperature: 1 draws from the model itself.
        batch_size: Prompts at once.
        reference: Another model with the same vocabulary, or None.
        mixture: b in the policy of IPO-MD, token by token in proportion to
            pi^(1-b) ref^b: 0 is the model, 1 the reference.
        name: What drew the responses, for their record.

    Raises:
        ConfigError: If an option is out of range, or a mixture has no reference.

    Source:
        The mixture: Calandriello et al. 2024, arXiv:2403.08635, section 5.
    """

    model: Any
    tokenizer: Any
    template: str = "auto"
    max_new_tokens: int = 256
    temperature: float = 1.0
    batch_size: int = 32
    reference: Any = None
    mixture: float = 0.0
    name: str = "policy"

    def __post_init__(self) -> None:
        """Check the options."""
        if self.temperature <= 0 or self.max_new_tokens < 1 or self.batch_size < 1:
            raise ConfigError(
                "`temperature` must be above 0, `max_new_tokens` and `batch_size` 1 or more; got "
                f"{self.temperature}, {self.max_new_tokens} and {self.batch_size}."
            )
        if not 0 <= self.mixture <= 1 or (self.mixture > 0 and self.reference is None):
            raise ConfigError(
                f"`mixture` must lie within 0 and 1, and above 0 there must be a `reference` to "
                f"mix with; got {self.mixture}."
            )

    def __call__(self, records: Iterable[Record], n: int = 1, seed: int = 0) -> Rollouts:
        """Draw n responses to the prompt of each record.

        Args:
            records: Whose contexts are the prompts; their candidates are not read.
            n: Responses to each.
            seed: The same seed gives the same responses, for the same batch size.

        Raises:
            RecordError: If a prompt cannot be encoded.
        """
        asked = list(records)
        template = ChatTemplate.choose(self.tokenizer, self.template)
        encoder = TextEncoder(self.tokenizer, template, None, "error")
        texts: list[str] = []
        log_probs, finished = [], []
        device = next(self.model.parameters()).device
        devices = [device] if device.type == "cuda" else []
        was_training = self.model.training
        self.model.eval()
        with torch.random.fork_rng(devices=devices), torch.no_grad():
            torch.manual_seed(seed)
            for start in range(0, len(asked), self.batch_size):
                part = asked[start : start + self.batch_size]
                drawn = self._drawn([prompt_ids(encoder, record) for record in part], n)
                texts += drawn[0]
                log_probs.append(drawn[1])
                finished.append(drawn[2])
        self.model.train(was_training)
        made = Records.of(
            answered(record, texts[at * n : at * n + n], self.name)
            for at, record in enumerate(asked)
        )
        shape = (len(asked), n)
        return Rollouts(
            made, torch.cat(log_probs).view(shape), torch.cat(finished).view(shape), iid=True
        )

    def _drawn(self, prompts: Sequence[list[int]], n: int) -> tuple[list[str], Tensor, Tensor]:
        """Texts of len(prompts) * n responses, their log-probabilities, and whether they ended."""
        from transformers import LogitsProcessorList

        pad, device = self.tokenizer.pad_token_id, next(self.model.parameters()).device
        ids, mask = (each.to(device) for each in left_padded(prompts, pad))
        chance = _Chance(
            self.temperature, self.reference, self.mixture, mask.repeat_interleave(n, 0)
        )
        tokens = self.model.generate(
            input_ids=ids,
            attention_mask=mask,
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            num_return_sequences=n,
            max_new_tokens=self.max_new_tokens,
            logits_processor=LogitsProcessorList([chance]),
            pad_token_id=pad,
        )
        new = tokens[:, ids.shape[1] :]
        alive, ended = until_end(new, end_ids(self.model, self.tokenizer))
        log_probs = (chance.of(new) * alive).sum(1)
        kept = [row[live].tolist() for row, live in zip(new, alive & ~ended, strict=True)]
        return [self.tokenizer.decode(ids) for ids in kept], log_probs.cpu(), ended.any(1).cpu()


def prompt_ids(encoder: TextEncoder, record: Record) -> list[int]:
    """Return the tokens of a prompt, the same that training puts before a response.

    Raises:
        RecordError: If the prompt cannot be encoded, as with a control token in its text.
    """
    anything = [{"role": "assistant", "content": "a"}]
    try:
        return encoder.encode(json.loads(prompt_json(record)), anything).prompt.tolist()
    except SetAside as reason:
        raise RecordError(
            f"Record {record.id} cannot be answered: {reason}. Leave it out of the prompts."
        ) from reason


class _Chance:
    """The distribution that each token is drawn from; remembers how likely the drawn ones were."""

    def __init__(
        self, temperature: float, reference: nn.Module | None, mixture: float, mask: Tensor
    ) -> None:
        self.temperature, self.mixture, self.mask = temperature, mixture, mask
        self.reference = reference if mixture else None
        self.before: Tensor | None = None
        self.found: list[Tensor] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return the logits to draw from; `input_ids` ends with what was drawn last."""
        self._note(input_ids[:, -1])
        logits = scores.float()
        if self.reference is not None:
            logits = logits.log_softmax(-1).lerp(self._of_reference(input_ids), self.mixture)
        self.before = (logits / self.temperature).log_softmax(-1)
        return self.before

    def of(self, tokens: Tensor) -> Tensor:
        """Return [N, T] log-probabilities of all drawn tokens, the last of which is noted now."""
        self._note(tokens[:, -1])
        return torch.stack(self.found, 1)

    def _note(self, token: Tensor) -> None:
        if self.before is not None:
            self.found.append(self.before.gather(1, token[:, None]).squeeze(1))

    def _of_reference(self, input_ids: Tensor) -> Tensor:
        assert self.reference is not None
        new = input_ids.shape[1] - self.mask.shape[1]
        mask = torch.cat([self.mask, self.mask.new_ones(len(self.mask), new)], 1)
        places = (mask.cumsum(1) - 1).clamp(min=0)
        found = self.reference(input_ids=input_ids, attention_mask=mask, position_ids=places)
        return found.logits[:, -1].float().log_softmax(-1)
