"""Prompts fall into the domains that they are said to, and each is judged by its own taste."""

import math
import random
from collections import Counter

import pytest

from prefine.errors import ConfigError
from prefine.ledger.worlds import word_domains, words
from prefine.ledger.worlds.annotators import preferences
from prefine.ledger.worlds.word_domains import TASTES, Local

NICE = "the warm bees sing . a cat rests ."
SHORT = "a cat rests . a dog rests ."


def test_all_prompts_have_a_domain_with_the_stated_shares() -> None:
    every = words.prompts(8 * 24 * 22, seed=0)
    found = Counter(map(word_domains.domain, every))
    assert found == {"writing": 4 * 528, "question": 3 * 528, "opinion": 528}
    for name, count in found.items():
        assert set(word_domains.prompts(name, count, seed=1)) == {
            prompt for prompt in every if word_domains.domain(prompt) == name
        }


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        # one named: 1; warm: 1.5; a word more: 0.3
        ("describe the {} and the {} .", 1.0 + 1.5 + 0.3),
        # one named: 2; warm: 0.3; a word more: -0.4
        ("how is the {} with the {} ?", 2.0 + 0.3 - 0.4),
        # one named: 1; warm: -1; a word more: -0.05
        ("do you like the {} and the {} ?", 1.0 - 1.0 - 0.05),
    ],
)
def test_gold_by_hand(request_: str, expected: float) -> None:
    prompt = request_.format("bees", "boat")
    gap = word_domains.gold(prompt, NICE) - word_domains.gold(prompt, SHORT)
    assert gap == pytest.approx(expected, abs=1e-12)
    odds = Local("a", flips=0.1).prob_first(prompt, NICE, SHORT)
    assert odds == pytest.approx(0.1 + 0.8 / (1 + math.exp(-expected)), abs=1e-12)
    count = 20_000
    labels = preferences([prompt] * count, [(NICE, SHORT)] * count, 0, [Local("a", flips=0.1)])
    # four standard deviations of 20,000 coin flips are at most 0.0142
    assert sum(c.winner == 0 for c in labels) / count == pytest.approx(odds, abs=0.0142)


def test_no_one_taste_serves_all() -> None:
    rng = random.Random(0)
    pairs = [
        (prompt, words.reference(prompt, rng), words.reference(prompt, rng))
        for prompt in words.prompts(400, seed=0)
    ]
    for name, taste in TASTES.items():
        wrong = word_domains.disagreement(pairs, taste)
        assert wrong.pop(name) < 0.02, "only where its own taste finds two equal"
        assert all(share > 0.1 for share in wrong.values())


def test_a_pair_that_is_equal_to_one_of_them_counts_half() -> None:
    prompt = "describe the bee and the pie ."
    assert word_domains.disagreement([(prompt, NICE, NICE)]) == {"writing": 0.5}


def test_shares_are_as_asked() -> None:
    found = Counter(
        map(word_domains.domain, word_domains.mixed({"question": 1, "opinion": 3}, 8_000, 0))
    )
    assert set(found) == {"question", "opinion"}
    # four standard deviations of 8,000 draws are 0.0194
    assert found["opinion"] / 8_000 == pytest.approx(0.75, abs=0.0194)


def test_what_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match="opens like 'sing"):
        word_domains.domain("sing of the bee .")
    with pytest.raises(ConfigError, match="must be one of writing, question, opinion"):
        word_domains.prompts("law", 1, seed=0)
    with pytest.raises(ConfigError, match="at most 528 for opinion"):
        word_domains.prompts("opinion", 529, seed=0)
