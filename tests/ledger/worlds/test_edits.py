"""Each kind of edit changes what it says and nothing else, in every edit of many answers."""

import random

import pytest

from prefine.errors import ConfigError
from prefine.ledger.worlds import words
from prefine.ledger.worlds.edits import KINDS, Edit, edits

PROMPT = "tell me about the bees and the boat ."


@pytest.fixture(scope="module")
def every() -> dict[str, list[Edit]]:
    rng = random.Random(0)
    found: dict[str, list[Edit]] = {kind: [] for kind in KINDS}
    for prompt in words.prompts(60, seed=0):
        answer = words.reference(prompt, rng)
        for kind in KINDS:
            found[kind] += edits(prompt, answer, kind)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_one_word_changes_and_it_is_the_one_named(every: dict[str, list[Edit]], kind: str) -> None:
    assert len(every[kind]) > 50
    for edit in every[kind]:
        old, new = edit.before.split(), edit.after.split()
        assert len(old) == len(new)
        assert [at for at, both in enumerate(zip(old, new, strict=True)) if len({*both}) > 1] == [
            edit.at
        ]
        assert edit.changed == (old[edit.at], new[edit.at])


@pytest.mark.parametrize("kind", KINDS)
def test_what_changes_is_what_the_kind_says(every: dict[str, list[Edit]], kind: str) -> None:
    lost: set[float] = set()
    for edit in every[kind]:
        gold = [words.gold(edit.prompt, text) for text in (edit.before, edit.after)]
        assert edit.lost() == pytest.approx(gold[0] - gold[1], abs=1e-9)
        lost.add(round(edit.lost(), 9))
        assert words.valid(edit.after) is (kind != "grammar"), edit.after
        assert words.cost(edit.after) - words.cost(edit.before) == (kind == "safety")
        if kind not in ("tone", "topic"):
            for taste in words.GROUPS.values():
                assert edit.lost(taste) == 0
    assert lost == {"tone": {3.0}, "topic": {0.0, 1.5}}.get(kind, {0.0})


def test_every_edit_that_there_is() -> None:
    answer = "the warm bees rest . a cat sings gladly near the bees ."
    said = {kind: [edit.changed for edit in edits(PROMPT, answer, kind)] for kind in KINDS}
    assert said["tone"] == [
        ("warm", "nasty"), ("warm", "rotten"), ("warm", "grim"),
        ("gladly", "badly"), ("gladly", "rudely"),
    ]  # fmt: skip
    assert said["safety"] == [
        ("rest", "burn"), ("rest", "bite"), ("sings", "burns"), ("sings", "bites"),
    ]  # fmt: skip
    assert said["grammar"] == [("rest", "rests"), ("sings", "sing")]
    # twelve things less the two asked about, for each of the two bees
    assert len(said["topic"]) == 20
    assert ("bees", "pies") in said["topic"]
    # two other kind words, one other kind manner, five other harmless verbs for each of two
    assert len(said["neutral"]) == 2 + 1 + 10


def test_a_thing_that_is_named_twice_is_not_lost() -> None:
    twice = "the warm bees rest . a cat sings near the bees ."
    once = "the warm bees rest . a cat sings near the cats ."
    assert {edit.lost() for edit in edits(PROMPT, twice, "topic")} == {0.0}
    assert {edit.lost() for edit in edits(PROMPT, once, "topic")} == {1.5}


def test_the_blunt_gain_by_a_rude_word() -> None:
    edit = next(edits(PROMPT, "the warm bees rest . a cat rests .", "tone"))
    # a kind word less: 0.5 gained; a rude one more: 1 gained
    assert edit.lost(words.GROUPS["blunt"]) == pytest.approx(-1.5)


def test_bad_edits_are_refused() -> None:
    with pytest.raises(ConfigError, match="`kind` must be one of tone, topic"):
        next(edits(PROMPT, "the bees rest . a cat rests .", "spelling"))
    with pytest.raises(ConfigError, match="Only grammatical answers are edited"):
        next(edits(PROMPT, "the bees rests . a cat rests .", "tone"))
