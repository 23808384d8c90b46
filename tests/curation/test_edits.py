"""A good response against a copy with changed facts."""

import random
from typing import Any

import pytest

from prefine.curation import Edits
from prefine.curation.rules import RULES, applied, possible
from prefine.errors import ConfigError
from prefine.records import Message, Part
from prefine.records.votes import SetAside

TEXT = "The dose is 5 mg. It was given to Anna Berg on Monday and did not help."


def found(text: str, *others: str, kinds: Any = tuple(RULES), seed: int = 0) -> list[Any]:
    return possible(text, others, kinds, random.Random(seed))


def test_every_place_that_a_rule_knows():
    edits = found(TEXT)
    assert [(edit.kind, edit.old) for edit in edits] == [
        ("negation", "is"), ("number", "5"), ("negation", "was"), ("name", "Anna Berg"),
        ("name", "Monday"), ("negation", "did not"),
    ]  # fmt: skip
    assert [edit.new for edit in edits if edit.kind == "negation"] == ["is not", "was not", "did"]
    assert [edit.new for edit in edits if edit.kind == "name"] == ["Monday", "Anna Berg"]
    changed = applied(TEXT, edits)
    assert changed.startswith("The dose is not ")
    assert changed.endswith(" mg. It was not given to Monday on Anna Berg and did help.")


@pytest.mark.parametrize("text", ["7", "0", "0.5", "12.50", "999999999999", "It is 3 or 4."])
def test_a_number_becomes_another_of_its_form(text: str):
    for seed in range(30):
        for edit in found(text, kinds=["number"], seed=seed):
            assert float(edit.new) != float(edit.old)
            assert len(edit.new.partition(".")[2]) == len(edit.old.partition(".")[2])


def test_edits_do_not_overlap():
    """`May` is a month or a verb."""
    edits = found("We met in May, or in June.")
    assert [edit.old for edit in edits] == ["May", "June"]


def test_a_name_without_another_stays():
    assert found("It was for Anna.", kinds=["name"]) == []
    (edit,) = found("It was for Anna.", "For whom, Anna or Ben?", kinds=["name"])
    assert edit.new == "Ben"


def test_the_copy_loses_and_says_what_was_changed(make_record):
    (made,) = Edits(count=2)(make_record((TEXT,)))
    good, worse = made.candidates
    verdict, edit = made.judgments
    assert (good.text, verdict.winner, verdict.kind) == (TEXT, "c0", "pair")
    assert (worse.origin.kind, worse.origin.parent) == ("edit", "c0")
    assert len(edit.ops) == 2
    for op in edit.ops:
        assert TEXT[op["start"] :].startswith(op["old"])
        assert op["new"] in worse.text
    assert made.source.license == "mit"


def test_only_what_was_never_beaten_is_edited(make_record, vote):
    record = make_record(("It is 5.", "It is 6."), [vote("c1")])
    (made,) = Edits()(record)
    assert [candidate.id for candidate in made.candidates] == ["c1", "c1-edited"]
    assert made.judgments[2:] == (), "the vote spoke of a response that is gone"
    cycle = make_record(("It is 5.", "It is 6."), [vote("c1"), vote("c0")])
    assert [one.reason for one in Edits()(cycle)] == ["tie"]


def test_each_demonstration_is_edited(make_record):
    made = list(Edits()(make_record(("It is 5.", "It is 6."))))
    assert [one.candidates[0].id for one in made] == ["c0", "c1"]
    assert len({one.id for one in made}) == 2


def test_what_cannot_be_edited_is_set_aside(make_record):
    def reason(record: Any) -> list[str]:
        return [one.reason for one in Edits()(record) if isinstance(one, SetAside)]

    assert reason(make_record(("Hello there",))) == ["nothing that a rule can edit"]
    assert reason(make_record(())) == ["no response"]
    picture = make_record(("5",)).candidates[0]
    picture = picture.__class__("c0", (Message("assistant", (Part("image", uri="a.png"),)),))
    assert reason(make_record(()).__class__(context=(), candidates=(picture,))) == [
        "the response is more than one text"
    ]


def test_the_seed_decides(make_record):
    texts = [
        [next(iter(Edits(seed=seed)(make_record((TEXT,), row=n)))).candidates[1].text
         for n in range(5)]
        for seed in (0, 0, 1)
    ]  # fmt: skip
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.parametrize("wrong", [{"count": 0}, {"kinds": ("rhyme",)}, {"kinds": ()}])
def test_options_that_make_no_sense(wrong: dict[str, Any]):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Edits(**wrong)
