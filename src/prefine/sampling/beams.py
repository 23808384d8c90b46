"""Search for likely responses: of a policy trained on preferences, those of high value."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from prefine.adapters.templates import ChatTemplate
from prefine.adapters.text import TextEncoder
from prefine.errors import ConfigError
from prefine.protocols import Rollouts
from prefine.records import Record, Records
from prefine.sampling.language import prompt_ids
from prefine.sampling.responses import answered, end_ids, left_padded, until_end


@dataclass(frozen=True)
class BeamSampler:
    """Keeps the likeliest beginnings of a response, token by token.

    The log-probability of a beginning under a policy that preferences made is, but for a number,
    the reward so far and the value of what can follow, both in units of beta. So it is a search by
    value, and needs no other model. It finds what the policy overrates, too: many beams bring long
    answers and those that exploit its reward.

    Attributes:
        model: A causal language model of transformers.
        tokenizer: Its tokenizer.
        template: Chat template, as adapters take it.
        max_new_tokens: Tokens after which a response is cut; `finished` tells which were.
        beams: Beginnings that are kept; 1 is greedy.
        length_penalty: Power of its length that a log-probability is divided by when ended
            responses are compared: 0 compares sums, 1 means over tokens. Sums prefer short ones.
        batch_size: Prompts at once.
        name: What made the responses, for their record.

    Raises:
        ConfigError: If an option is out of range.

    Source:
        Rafailov et al. 2024, arXiv:2404.12358, section 5.2: five beams.
    """

    model: Any
    tokenizer: Any
    template: str = "auto"
    max_new_tokens: int = 256
    beams: int = 5
    length_penalty: float = 1.0
    batch_size: int = 8
    name: str = "beams"

    def __post_init__(self) -> None:
        """Check the options."""
        if min(self.max_new_tokens, self.beams, self.batch_size) < 1:
            raise ConfigError(
                "`max_new_tokens`, `beams` and `batch_size` must be 1 or more; got "
                f"{self.max_new_tokens}, {self.beams} and {self.batch_size}."
            )

    def __call__(self, records: Iterable[Record], n: int = 1, seed: int = 0) -> Rollouts:
        """Return the n best responses to the prompt of each record, best first.

        Args:
            records: Whose contexts are the prompts; their candidates are not read.
            n: Responses to each, at most as many as there are beams.
            seed: Nothing is random; taken because samplers take it.

        Returns:
            Responses that are not independent draws (`iid` is False), and the log-probability of
            each under the policy.

        Raises:
            ConfigError: If `n` is above the number of beams.
            RecordError: If a prompt cannot be encoded.
        """
        asked = list(records)
        template = ChatTemplate.choose(self.tokenizer, self.template)
        encoder = TextEncoder(self.tokenizer, template, None, "error")
        prompts = [prompt_ids(encoder, record) for record in asked]
        pad, ends = self.tokenizer.pad_token_id, end_ids(self.model, self.tokenizer)
        texts: list[str] = []
        log_probs, finished = [], []
        for start in range(0, len(asked), self.batch_size):
            ids, mask = left_padded(prompts[start : start + self.batch_size], pad)
            new, log_prob = beam_search(
                self.model, ids, mask, n=n, beams=self.beams, ends=ends, pad=pad,
                max_new_tokens=self.max_new_tokens, length_penalty=self.length_penalty,
            )  # fmt: skip
            alive, ended = until_end(new, ends)
            texts += [
                self.tokenizer.decode(row[kept].tolist())
                for row, kept in zip(new, alive & ~ended, strict=True)
            ]
            log_probs.append(log_prob)
            finished.append(ended.any(1))
        made = Records.of(
            answered(record, texts[at * n : at * n + n], self.name)
            for at, record in enumerate(asked)
        )
        shape = (len(asked), n)
        return Rollouts(
            made, torch.cat(log_probs).view(shape), torch.cat(finished).view(shape), iid=False
        )


def beam_search(
    model: Any,
    ids: Tensor,
    mask: Tensor,
    *,
    n: int = 1,
    beams: int = 5,
    max_new_tokens: int,
    ends: Sequence[int] = (),
    length_penalty: float = 1.0,
    pad: int = 0,
) -> tuple[Tensor, Tensor]:
    """Search from prompts of token ids; see `BeamSampler`.

    Args:
        model: A model that transformers can generate with.
        ids: [R, P] prompts, padded on the left.
        mask: [R, P] 0 where padded.
        n: Responses to each, at most `beams`.
        beams: Beginnings that are kept.
        max_new_tokens: Tokens after which a response is cut.
        ends: Ids that end a response; without any, all are cut.
        length_penalty: Power of the length that sums are divided by to compare.
        pad: Stands after the end of a response.

    Returns:
        [R * n, T] tokens, the n of a prompt together, best first; and the [R * n] log-probability
        of each, nats.

    Raises:
        ConfigError: If `n` is above the number of beams.
    """
    if not 1 <= n <= beams:
        raise ConfigError(
            f"A search with {beams} beams ends with {beams} responses, {n} were asked for. Raise "
            "`beams`."
        )
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    compared: dict[str, Any] = {"length_penalty": length_penalty, "early_stopping": "never"}
    with torch.no_grad():
        found = model.generate(
            input_ids=ids.to(device), attention_mask=mask.to(device), do_sample=False,
            temperature=None, top_k=None, top_p=None, repetition_penalty=1.0, num_beams=beams,
            num_return_sequences=n, max_new_tokens=max_new_tokens,
            eos_token_id=list(ends) or None, pad_token_id=pad, output_scores=True,
            return_dict_in_generate=True, **(compared if beams > 1 else {}),
        )  # fmt: skip
        chances = model.compute_transition_scores(
            found.sequences, found.scores, getattr(found, "beam_indices", None),
            normalize_logits=beams == 1,
        )  # fmt: skip
    model.train(was_training)
    new = found.sequences[:, ids.shape[1] :]
    alive, _ = until_end(new, ends)
    width = min(new.shape[1], chances.shape[1])
    total = torch.where(alive[:, :width], chances[:, :width], 0.0).sum(1)
    return new.cpu(), total.cpu()
