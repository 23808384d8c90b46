"""Translations written while reading: the choices of a whole forward pass, never too soon."""

import copy
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from prefine.adapters import SimultaneousLM
from prefine.errors import ConfigError
from prefine.records import Candidate, Message, Record, Records
from prefine.records.streams import Trajectory, revealed
from prefine.sampling import SimultaneousTranslator
from prefine.training.streaming import add_read

SOURCE = [" x", " y", " z\n"]
ASKED = Record(context=(Message("user", "go\n"),), candidates=(), tags={"form": "text"})
READ, END = 260, 3


@pytest.fixture
def tokenizer(tiny_tokenizer: Any) -> Any:
    made = copy.deepcopy(tiny_tokenizer)
    add_read(made, "<read>")
    return made


class Scripted(torch.nn.Module):
    """Wants what a function of all tokens so far says; keeps them in place of a cache."""

    def __init__(self, wish: Callable[[list[int]], int]) -> None:
        super().__init__()
        self.wish = wish
        self.here = torch.nn.Parameter(torch.zeros(1))
        self.generation_config = SimpleNamespace(eos_token_id=END)

    def forward(self, input_ids: Any, past_key_values: Any, use_cache: bool) -> Any:
        known = [*(past_key_values or []), *input_ids[0].tolist()]
        logits = torch.zeros(1, input_ids.shape[1], 261)
        logits[0, -1, self.wish(known)] = 20.0
        return SimpleNamespace(logits=logits, past_key_values=known)


def said(messages: Any) -> str:
    return "".join(message.text for message in messages)


def test_it_copies_each_word_as_soon_as_it_was_read(tokenizer: Any) -> None:
    def copying(known: list[int]) -> int:
        text = tokenizer.decode(known)
        if text.endswith(("\n", "<read>")) and "z" not in text:
            return READ
        last = text.rsplit("<read>", 1)[1].replace(" ", "").replace("\n", "")
        wanted = last[0] + last[0].upper()
        if len(last) < len(wanted):
            return tokenizer(wanted[len(last)], add_special_tokens=False)["input_ids"][0]
        return END if last[0] == "z" else READ

    messages, finished = SimultaneousTranslator(Scripted(copying), tokenizer)(ASKED, SOURCE)
    assert finished
    assert said(messages) == "<read> xX<read> yY<read> z\nZ"
    assert revealed(messages) == SOURCE


def test_it_cannot_end_before_its_source_nor_read_on_after_it(tokenizer: Any) -> None:
    a = tokenizer("a", add_special_tokens=False)["input_ids"][0]
    hasty = Scripted(lambda known: END if len(known) % 2 else READ)
    messages, finished = SimultaneousTranslator(hasty, tokenizer, max_new_tokens=5)(ASKED, SOURCE)
    assert revealed(messages) == SOURCE or not finished
    greedy = Scripted(lambda known: READ)
    messages, finished = SimultaneousTranslator(greedy, tokenizer, max_new_tokens=5)(ASKED, SOURCE)
    assert [message.role for message in messages[:6]] == ["assistant", "user"] * 3
    assert "<read>" not in messages[-1].text
    endless = Scripted(lambda known: a)
    messages, finished = SimultaneousTranslator(endless, tokenizer, max_new_tokens=5)(ASKED, SOURCE)
    assert (said(messages), finished) == ("<read> xaaaaa", False)


@pytest.mark.parametrize("threshold", [0.002, 0.12])
def test_each_choice_is_that_of_a_whole_forward_pass(
    threshold: float, tokenizer: Any, tiny_llama: Callable[..., Any]
) -> None:
    """The cache, the pieces and the border are those of training."""
    model = tiny_llama(vocab=261, initializer_range=0.5).double().eval()
    letters = tokenizer("abcdef ", add_special_tokens=False)["input_ids"]
    bias = torch.full((261,), -1e3).double()
    bias[[*letters, READ, END]] = 0.0
    model.lm_head.bias = torch.nn.Parameter(bias)
    translate = SimultaneousTranslator(model, tokenizer, threshold=threshold, max_new_tokens=40)
    messages, finished = translate(ASKED, SOURCE)
    record = Record(context=ASKED.context, candidates=(Candidate("c0", messages),), tags=ASKED.tags)
    from prefine.records.views import candidates_view

    (row,) = SimultaneousLM(tokenizer).prepare(candidates_view(Records.of([record]))).dataset
    prompt, response, mask = (row[name][0] for name in ("prompt", "response", "mask"))
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([[*prompt, *response]]).long()).logits[0].float()
    reads, checked = 0, 0
    for at, (token, scored) in enumerate(zip(response, mask, strict=True)):
        if not scored or (at + 1 == len(response) and not finished):
            continue
        here = logits[len(prompt) + at - 1]
        likely = float(here.softmax(-1)[READ]) > threshold
        wants = reads == 0 or (likely and reads < len(SOURCE))  # the first is given
        assert (token == READ) == wants
        here[READ] = -torch.inf
        if reads < len(SOURCE):
            here[END] = -torch.inf
        assert wants or token == here.argmax()
        reads += token == READ
        checked += 1
    assert checked > 5
    assert Trajectory.of(messages, "<read>").source == reads


@pytest.mark.parametrize("options", [{"threshold": 0.0}, {"threshold": 1.0}, {"max_new_tokens": 0}])
def test_impossible_options(options: Any, tokenizer: Any) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        SimultaneousTranslator(None, tokenizer, **options)


def test_a_model_that_never_learnt_to_read_is_refused(tiny_tokenizer: Any) -> None:
    with pytest.raises(ConfigError, match="has no such token"):
        SimultaneousTranslator(None, tiny_tokenizer)
