"""A search finds what is likeliest, says how likely it is, and is honest about what it is not."""

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import torch

from prefine.adapters.templates import ChatTemplate
from prefine.adapters.text import TextEncoder
from prefine.errors import ConfigError
from prefine.records import Message, Record, Source
from prefine.sampling import BeamSampler, beam_search
from prefine.sampling.language import prompt_ids

VOCABULARY, END = 5, 3


def of_tokens(model: Any, start: list[int], tokens: list[int]) -> float:
    with torch.no_grad():
        found = model(input_ids=torch.tensor([start + tokens])).logits.log_softmax(-1)
    at = range(len(start) - 1, len(start) + len(tokens) - 1)
    return float(sum(found[0, place, token] for place, token in zip(at, tokens, strict=True)))


def everything(longest: int) -> list[list[int]]:
    """All responses that end, and those that are cut."""
    rest = [token for token in range(VOCABULARY) if token != END]
    ended = [[*some, END] for n in range(longest) for some in product(rest, repeat=n)]
    return ended + [list(some) for some in product(rest, repeat=longest)]


@pytest.mark.parametrize("power", [0.0, 1.0])
def test_enough_beams_find_the_best_of_all(power: float, tiny_llama: Callable[..., Any]) -> None:
    model = tiny_llama(vocab=VOCABULARY, initializer_range=0.7).double()
    every = everything(3)
    chances = {tuple(one): of_tokens(model, [1, 4], one) for one in every}
    best = sorted(chances, key=lambda one: -chances[one] / len(one) ** power)
    tokens, found = beam_search(
        model, torch.tensor([[1, 4]]), torch.ones(1, 2), n=3, beams=70, ends=[END],
        max_new_tokens=3, length_penalty=power,
    )  # fmt: skip
    for row, chance, one in zip(tokens.tolist(), found.tolist(), best[:3], strict=True):
        assert tuple(row[: len(one)]) == one
        assert chance == pytest.approx(chances[one], abs=1e-5)


def test_one_beam_is_greedy(tiny_llama: Callable[..., Any]) -> None:
    model = tiny_llama(vocab=VOCABULARY, initializer_range=0.7).double()
    ids = [1, 4]
    for _ in range(4):
        ids.append(int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
    tokens, found = beam_search(
        model, torch.tensor([[1, 4]]), torch.ones(1, 2), beams=1, max_new_tokens=4
    )
    assert tokens.tolist() == [ids[2:]]
    assert float(found) == pytest.approx(of_tokens(model, ids[:2], ids[2:]), abs=1e-5)


@pytest.fixture
def sampler(tiny_llama: Callable[..., Any], tiny_tokenizer: Any) -> Callable[..., BeamSampler]:
    def make(**options: Any) -> BeamSampler:
        model = tiny_llama(initializer_range=0.3).double()
        return BeamSampler(model, tiny_tokenizer, **{"max_new_tokens": 6, **options})

    return make


def asked(*texts: str) -> list[Record]:
    return [
        Record(source=Source("test", row=row), context=(Message("user", text),), candidates=())
        for row, text in enumerate(texts)
    ]


def test_responses_are_the_models_own_and_not_independent(
    sampler: Callable[..., BeamSampler],
) -> None:
    made, records = sampler(beams=3), asked("hi", "a longer question?", "hm")
    found = made(records, n=2, seed=1)
    alone = [sampler(beams=3, batch_size=1)(records, n=2)]
    assert not found.iid
    assert found.log_probs.shape == found.finished.shape == (3, 2)
    torch.testing.assert_close(found.log_probs, alone[0].log_probs)
    encoder = TextEncoder(made.tokenizer, ChatTemplate.choose(made.tokenizer), None, "error")
    for at, record in enumerate(found.records):
        assert record.context == records[at].context
        for k, candidate in enumerate(record.candidates):
            assert candidate.origin is not None
            assert candidate.origin.model == "beams"
            if "�" in candidate.text:
                continue  # bytes that are no text cannot be told from it
            tokens = made.tokenizer(candidate.text, add_special_tokens=False)["input_ids"]
            tokens += [3] if found.finished[at, k] else []
            expected = of_tokens(made.model, prompt_ids(encoder, records[at]), tokens)
            assert float(found.log_probs[at, k]) == pytest.approx(expected, abs=1e-4)


def test_options_are_checked(sampler: Callable[..., BeamSampler]) -> None:
    with pytest.raises(ConfigError, match="`beams`"):
        sampler(beams=0)
    with pytest.raises(ConfigError, match="3 were asked for"):
        sampler(beams=2)(asked("hi"), n=3)
