"""A model asked A or B: its probabilities, both orders, and texts that look like places."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from prefine.adapters import CausalLM
from prefine.errors import ConfigError
from prefine.judges import OptionJudge
from prefine.judges.options import QUESTION
from prefine.records import Candidate, Message, Record, Records, Source


def record(row: int, *texts: str, asked: str = "what?") -> Record:
    answers = tuple(Candidate(f"c{k}", (Message("assistant", t),)) for k, t in enumerate(texts))
    return Record(
        source=Source("s", row=row), context=(Message("user", asked),), candidates=answers
    )


@pytest.fixture(scope="module")
def judge(tiny_llama: Callable[..., Any], tiny_tokenizer: Any) -> OptionJudge:
    return OptionJudge(tiny_llama(seed=3).double(), CausalLM(tiny_tokenizer, max_length=None))


def by_hand(judge: OptionJudge, tokenizer: Any, first: str, second: str) -> float:
    """The probability of answering A rather than B, by two plain forward passes."""
    text = (
        QUESTION.replace("{prompt}", "what?").replace("{first}", first).replace("{second}", second)
    )
    found = []
    for option in ("A", "B"):
        said = [{"role": "user", "content": text}, {"role": "assistant", "content": option}]
        whole = tokenizer.apply_chat_template(said, return_dict=False)
        asked = tokenizer.apply_chat_template(
            said[:1], add_generation_prompt=True, return_dict=False
        )
        end = len(whole) - 1 - whole[::-1].index(tokenizer.eos_token_id)
        ids = torch.tensor([whole[: end + 1]])
        with torch.no_grad():
            table = judge.model(input_ids=ids).logits[0, :-1].log_softmax(-1)
        scored = range(len(asked) - 1, end)
        found.append(sum(float(table[t, ids[0, t + 1]]) for t in scored))
    return 1 / (1 + math.exp(found[1] - found[0]))


def test_it_is_the_probability_of_the_option_over_both_orders(
    judge: OptionJudge, tiny_tokenizer: Any
) -> None:
    better = judge(Records.of([record(0, "yes", "no")]))
    one, other = (by_hand(judge, tiny_tokenizer, *two) for two in (("yes", "no"), ("no", "yes")))
    assert one != pytest.approx(1 - other, abs=1e-6), "the order matters to this model"
    assert float(better[0, 0, 1]) == pytest.approx((one + 1 - other) / 2, abs=1e-9)


def test_what_beats_and_what_is_beaten_add_up_to_one(judge: OptionJudge) -> None:
    better = judge(Records.of([record(0, "a", "bb", "ccc"), record(1, "x", "y")]))
    assert better.shape == (2, 3, 3)
    known = ~better.isnan()
    assert int(known.sum()) == 9 + 4
    torch.testing.assert_close((better + better.mT)[known], torch.ones(13, dtype=torch.float64))
    assert better[1, :2, :2].diagonal().tolist() == [0.5, 0.5]


def test_a_place_named_in_a_response_stays_text(judge: OptionJudge) -> None:
    asked = Records.of([record(0, "{second}", "{first}", asked="{first}")])
    (question, _) = judge._questions(list(asked))
    text = question.context[0].text
    assert "Request:\n{first}" in text
    assert "Response A:\n{second}" in text
    assert "Response B:\n{first}" in text


@pytest.mark.parametrize(
    "more", [{"question": "Which? {first} or {second}"}, {"options": ("A", "A")}]
)
def test_a_question_that_cannot_be_asked_is_refused(
    more: dict[str, Any], judge: OptionJudge
) -> None:
    with pytest.raises(ConfigError, match="two different options"):
        OptionJudge(judge.model, judge.adapter, **more)
