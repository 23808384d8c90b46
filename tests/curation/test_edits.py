"""A good response against a copy with changed facts."""

import random
from typing import Any

import pytest

from prefine.curation import Edits, Writer, curate, options_of
from prefine.curation.rules import RULES, applied, possible
from prefine.errors import ConfigError
from prefine.records import Message, Part, Records
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


# --- A model that edits ---


@pytest.fixture
def editor(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return `make({response: its edited form})`, a function as an editor; others come back."""

    def make(edited: dict[str, str]) -> Writer:
        def write(prompts: list[str], completions: list[str]) -> list[str]:
            return [edited.get(text, text) for text in completions]

        monkeypatch.setattr("prefine.curation.edits.written_for_tests", write, raising=False)
        return Writer("prefine.curation.edits:written_for_tests")

    return make


def test_an_editor_makes_the_copy_that_loses(make_record, editor):
    writer = editor({" It is 5 mg. Rest.\n": "It is 50 mg, for Ben. Rest."})
    records = Records.of([make_record((" It is 5 mg. Rest.\n",))])
    (made,) = curate(records, Edits(editor=writer))
    worse = made.candidates[1]
    assert worse.text == " It is 50 mg, for Ben. Rest.\n", "white space around it stays"
    assert (worse.origin.kind, worse.origin.model, worse.origin.parent) == (
        "edit", "prefine.curation.edits:written_for_tests", "c0",
    )  # fmt: skip
    verdict, edit = made.judgments
    assert (verdict.winner, verdict.kind) == ("c0", "pair")
    assert (edit.edit_from, edit.edit_to) == ("c0", "c0-edited")
    assert [(op["kind"], op["start"], op["old"], op["new"]) for op in edit.ops] == [
        ("model", 6, " 5", " 50"), ("model", 11, "", ", for Ben"),
    ]  # fmt: skip
    assert made.meta["curation"][0]["options"]["editor"] == writer.options()


def test_a_corrected_response_wins(make_record, vote, editor):
    """Of what was judged only what lost is corrected; of what was not, everything."""
    writer = editor({"It is 6.": "It is 4.", "It is 5.": "It is 4."})
    operator = Edits(editor=writer, direction="better")
    judged = make_record(("It is 5.", "It is 6."), [vote("c0")])
    (made,) = curate(Records.of([judged]), operator)
    assert [c.text for c in made.candidates] == ["It is 6.", "It is 4."]
    assert made.judgments[0].winner == "c1-edited"
    (row,) = made_rows(Records.of([made]))
    assert "It is 4." in row["responses"][0]
    assert len(curate(Records.of([make_record(("It is 5.", "It is 6."))]), operator)) == 2


def made_rows(records: Records) -> list[Any]:
    return list(records.pairs().rows)


def test_answers_that_are_no_edits_are_counted(make_record, editor):
    writer = editor({"It is 5.": "No.", "Empty.": " "})
    picture = Message("user", (Part("image", uri="a.png"),))
    records = Records.of(
        [
            make_record(("Same.", "It is 5.", "Empty.", " ")),
            make_record(("It is 5.",), context=(picture,), row=1),
        ]
    )
    with pytest.raises(ConfigError, match="has not written about this record"):
        list(Edits(editor=writer)(records[0]))
    made = curate(records, Edits(editor=writer))
    assert len(made) == 0
    assert dict(made.set_aside) == {
        "the editor changed nothing": 1,
        "the editor kept too few words": 1,
        "an empty answer": 1,
        "an empty response": 1,
        "the prompt is more than text, which an editor does not see": 1,
    }
    assert len(curate(records, Edits(editor=writer, kept=0))) == 1


def test_kept_is_a_bound_on_both_texts(make_record, editor):
    """Of `It is 5 mg .` 3 words of 5 stay, since ` It` is another; of the longer text 3 of 11."""
    records = Records.of([make_record(("It is 5 mg.",))])
    writer = editor({"It is 5 mg.": "Sure, here it goes: It is 50 mg."})
    lengths = [len(curate(records, Edits(editor=writer, kept=kept))) for kept in (0.27, 0.28)]
    assert lengths == [1, 0], "Sure , here it goes : It is 50 mg ."


def test_training_finds_the_tokens_that_an_editor_changed(make_record, editor, tiny_tokenizer):
    """By bytes here: only the 0 was put in."""
    from prefine.adapters import CausalLM
    from prefine.adapters.alignment import edited

    writer = editor({"It is 5 mg.": "It is 50 mg."})
    made = curate(Records.of([make_record(("It is 5 mg.",))]), Edits(editor=writer))
    row = CausalLM(tiny_tokenizer).prepare(made.pairs()).dataset[0]
    ids = dict(zip(row["roles"], row["response"], strict=True))
    good, worse = edited(ids["chosen"], ids["rejected"])
    assert not good.any()
    assert (
        tiny_tokenizer.decode([i for i, flag in zip(ids["rejected"], worse, strict=True) if flag])
        == "0"
    )


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"direction": "better"}, "`direction=better` asks for corrections"),
        ({"direction": "sideways"}, "`direction` must be worse or better"),
        ({"kept": 0.5}, "`kept` guards against an editor"),
        ({"kept": 2.0, "editor": Writer("m")}, "`kept` must lie within 0 and 1"),
        ({"kinds": ("number",), "editor": Writer("m")}, "`kinds` are of rules"),
        ({"count": 1, "editor": Writer("m:f")}, "`count=1` does nothing"),
        ({"count": 1, "editor": Writer("m"), "direction": "better"}, "`count=1` does nothing"),
        ({"count": 1, "editor": Writer("m", instruction="{response}")}, "`count=1` does nothing"),
    ],
)
def test_options_that_mean_nothing_together(wrong: dict[str, Any], said: str):
    with pytest.raises(ConfigError, match=said):
        Edits(**wrong)


def test_the_count_stands_in_the_instruction(monkeypatch: pytest.MonkeyPatch, make_record):
    asked: list[str] = []

    def write(self: Writer, requests: Any, instruction: str, **more: Any) -> dict[str, str]:
        asked.append(instruction)
        return {one.key: "It is 6." for one in requests}

    monkeypatch.setattr(Writer, "write", write)
    records = Records.of([make_record(("It is 5.",))])
    assert len(curate(records, Edits(editor=Writer("m"), count=7))) == 1
    curate(records, Edits(editor=Writer("m", instruction="{response} {count}")))
    assert "at most 7 places" in asked[0]
    assert asked[1] == "{response} 2"
    assert options_of(Edits(editor=Writer("m")))["editor"] == {"model": "m"}
