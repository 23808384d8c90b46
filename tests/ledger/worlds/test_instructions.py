"""What an answer meets is what its words say, counted here by other means than the checkers."""

import math
import random

import pytest

from prefine.errors import ConfigError
from prefine.ledger.worlds import words
from prefine.ledger.worlds.instructions import TELLING, Ask, asks
from prefine.records.instructions import FAMILIES, Instruction

PROMPT = "describe the bee and the pie ."
ANSWER = "the warm bee rests . a cat rests ."  # seven words without stops


def by_hand(one: Instruction, answer: str) -> bool:
    said = [word for word in answer.split() if word != "."]
    return {
        "at_least_words": lambda: len(said) >= int(one.value),
        "at_most_words": lambda: len(said) <= int(one.value),
        "contains": lambda: one.value in said,
        "avoids": lambda: one.value not in said,
        "starts_with": lambda: said[0] == one.value,
        "does_not_start_with": lambda: said[0] != one.value,
        "ends_with": lambda: said[-1] == one.value,
        "does_not_end_with": lambda: said[-1] != one.value,
        "ascii": lambda: True,
        "no_json": lambda: True,
        "lower_case": lambda: True,
        "not_ascii": lambda: False,
        "json": lambda: False,
        "upper_case": lambda: False,
    }[one.kind]()


def test_checks_agree_with_counting_on_what_the_world_writes() -> None:
    rng, found = random.Random(0), 0
    every = tuple(FAMILIES)
    for ask, witness in asks(words.prompts(100, seed=0), seed=1, count=7, families=every):
        assert ask.met(witness) == 7
        for answer in (witness, *(words.reference(ask.prompt, rng) for _ in range(5))):
            assert ask.obeyed(answer) == tuple(by_hand(one, answer) for one in ask.instructions)
            found += ask.met(answer) < 7
    assert found > 100, "other answers break some instruction"


def test_every_telling_checker_is_broken_by_somebody_and_the_others_by_nobody() -> None:
    rng = random.Random(2)
    broken = dict.fromkeys(FAMILIES, 0)
    for ask, _ in asks(words.prompts(60, seed=3), seed=4, count=7, families=tuple(FAMILIES)):
        other = words.reference(ask.prompt, rng)
        for one, obeyed in zip(ask.instructions, ask.obeyed(other), strict=True):
            family = next(name for name, kinds in FAMILIES.items() if one.kind in kinds)
            broken[family] += not obeyed
    assert {family for family, times in broken.items() if times} == set(TELLING)


def test_gold_by_hand() -> None:
    ask = Ask(
        PROMPT,
        (
            Instruction("at_least_words", "7"),
            Instruction("avoids", "cat"),
            Instruction("ends_with", "rests"),
        ),
    )
    assert ask.obeyed(ANSWER) == (True, False, True)
    # two met at 0.8 each; bee named 1.5, warm 1.5, nine words -0.45
    assert ask.gold(ANSWER, worth=0.8) == pytest.approx(1.6 + 1.5 + 1.5 - 0.45, abs=1e-12)
    # against one that meets all three: a pie in place of the cat, and named: 1.5 more
    better = "the warm bee rests . a pie rests ."
    assert ask.met(better) == 3
    assert ask.prob_first(ANSWER, better, worth=0.8, taste=None) == pytest.approx(
        1 / (1 + math.exp(0.8))
    )
    assert ask.prob_first(better, ANSWER, worth=0.8) == pytest.approx(1 / (1 + math.exp(-2.3)))


def test_instructions_do_not_change_what_is_asked_about() -> None:
    for ask, _ in asks(words.prompts(50, seed=5), seed=6):
        assert words.asked(ask.text) == words.asked(ask.prompt)
        assert len({one.kind for one in ask.instructions}) == 3


def test_asks_that_cannot_be_are_refused() -> None:
    with pytest.raises(ConfigError, match="`count` must be from 1 to the number of checkers, 4"):
        Ask.drawn(PROMPT, ANSWER, random.Random(0), count=5)
    with pytest.raises(ConfigError, match="got rhymes"):
        Ask.drawn(PROMPT, ANSWER, random.Random(0), families=("rhymes",))
