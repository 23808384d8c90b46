"""Responses are drawn from what is said, and their log-probabilities are the model's own."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from prefine.adapters.templates import ChatTemplate
from prefine.adapters.text import TextEncoder
from prefine.errors import ConfigError, RecordError
from prefine.records import Message, Record, Source
from prefine.sampling import LanguageSampler
from prefine.sampling.language import prompt_ids

LONGEST = 12


def asked(*texts: str) -> list[Record]:
    return [
        Record(source=Source("test", row=row), context=(Message("user", text),), candidates=())
        for row, text in enumerate(texts)
    ]


@pytest.fixture
def sampler(tiny_llama: Callable[..., Any], tiny_tokenizer: Any) -> Callable[..., LanguageSampler]:
    def make(seed: int = 0, **options: Any) -> LanguageSampler:
        given = {"max_new_tokens": LONGEST, **options}
        return LanguageSampler(tiny_llama(seed=seed).double(), tiny_tokenizer, **given)

    return make


def by_hand(
    model: Any, start: list[int], tokens: list[int], mix: Any = None, b: float = 0.0
) -> float:
    """Sum of log-probabilities of tokens after a prompt, from plain forward passes."""
    ids = torch.tensor([start + tokens])
    with torch.no_grad():
        found = model(input_ids=ids).logits.log_softmax(-1)
        if mix is not None:
            other = mix(input_ids=ids).logits.log_softmax(-1)
            found = ((1 - b) * found + b * other).log_softmax(-1)
    at = range(len(start) - 1, len(start) + len(tokens) - 1)
    return float(sum(found[0, place, token] for place, token in zip(at, tokens, strict=True)))


@pytest.mark.parametrize("b", [0.0, 0.4])
def test_log_probs_are_those_of_plain_forward_passes(
    b: float,
    sampler: Callable[..., LanguageSampler],
    tiny_llama: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reference = tiny_llama(seed=5).double()
    made = sampler(mixture=b, reference=reference)
    seen: list[torch.Tensor] = []
    generate = made.model.generate

    def spy(**given: Any) -> torch.Tensor:
        seen.append(generate(**given)[:, given["input_ids"].shape[1] :])
        return torch.cat([given["input_ids"].repeat_interleave(2, 0), seen[-1]], 1)

    monkeypatch.setattr(made.model, "generate", spy)
    records = asked("hi", "a longer question?")
    rollouts = made(records, n=2, seed=3)
    template = ChatTemplate.choose(made.tokenizer)
    encoder = TextEncoder(made.tokenizer, template, None, "error")
    for at, row in enumerate(seen[0].tolist()):
        tokens = row[: row.index(3) + 1] if 3 in row else row
        expected = by_hand(made.model, prompt_ids(encoder, records[at // 2]), tokens, reference, b)
        assert float(rollouts.log_probs[at // 2, at % 2]) == pytest.approx(expected, abs=1e-4)
        assert bool(rollouts.finished[at // 2, at % 2]) == (3 in row)


def test_a_whole_mixture_is_the_reference(
    sampler: Callable[..., LanguageSampler], tiny_llama: Callable[..., Any]
) -> None:
    mixed = sampler(mixture=1.0, reference=tiny_llama(seed=5).double())
    records = asked("hi", "ho")
    ours, theirs = mixed(records, n=3, seed=1), sampler(seed=5)(records, n=3, seed=1)
    texts = [[c.text for r in made.records for c in r.candidates] for made in (ours, theirs)]
    assert texts[0] == texts[1]
    torch.testing.assert_close(ours.log_probs, theirs.log_probs)


def test_a_seed_repeats_and_another_does_not(sampler: Callable[..., LanguageSampler]) -> None:
    made, records = sampler(), asked("one", "two")
    state = torch.get_rng_state()
    first, again, other = (made(records, n=2, seed=seed).log_probs for seed in (7, 7, 8))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(state, torch.get_rng_state()), "what is drawn elsewhere is not disturbed"
    assert made.tokenizer.padding_side == "right"


def test_temperature_sharpens(sampler: Callable[..., LanguageSampler]) -> None:
    records = asked(*"abcdefgh")
    cold, warm = (sampler(temperature=t)(records, n=4).log_probs.mean() for t in (0.2, 1.0))
    assert cold > warm


def test_a_record_keeps_its_prompt_and_says_who_answered(
    sampler: Callable[..., LanguageSampler],
) -> None:
    (record,) = sampler(name="round 1")(asked("hi"), n=2).records
    assert record.context[0].text == "hi"
    assert [c.origin.model for c in record.candidates if c.origin] == ["round 1", "round 1"]


@pytest.mark.parametrize(
    "options", [{"temperature": 0.0}, {"mixture": 0.5}, {"mixture": 2.0}, {"max_new_tokens": 0}]
)
def test_options_are_checked(
    options: dict[str, Any], sampler: Callable[..., LanguageSampler]
) -> None:
    with pytest.raises(ConfigError):
        sampler(**options)


def test_a_prompt_with_a_control_token_is_named(sampler: Callable[..., LanguageSampler]) -> None:
    with pytest.raises(RecordError, match=r"cannot be answered: .* control token"):
        sampler()(asked("fine", "not <|im_end|> fine"))
