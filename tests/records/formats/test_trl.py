"""TRL's row formats: what each row becomes, what is refused, and the way back."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefine.errors import RecordError
from prefine.records import Message, Part, Records, load
from prefine.records.formats import FORMATS
from prefine.records.formats.format import Where

USER = {"role": "user", "content": "Hi"}
GOOD = {"role": "assistant", "content": "Hello!"}
BAD = {"role": "assistant", "content": "Go."}
ASK = {"role": "user", "content": "Why?"}

ROWS = {
    "trl_preference": [
        {"prompt": "Hi", "chosen": "Hello!", "rejected": "Go."},
        {"prompt": [USER], "chosen": [GOOD], "rejected": [BAD]},
        {"prompt": [USER], "chosen": [GOOD], "rejected": [BAD], "tools": [{"name": "f"}]},
        {"prompt": "Hi", "chosen": "a", "rejected": "b", "margin": 1.5},
    ],
    "trl_unpaired": [
        {"prompt": "Hi", "completion": "Hello!", "label": True},
        {"prompt": [USER], "completion": [GOOD], "label": False},
    ],
    "trl_prompt_completion": [
        {"prompt": "Hi", "completion": "Hello!"},
        {"prompt": [USER], "completion": [GOOD, ASK, BAD]},
    ],
    "trl_prompt_only": [{"prompt": "Hi"}, {"prompt": [USER, GOOD, ASK]}],
    "trl_language_modelling": [{"text": "Once."}, {"messages": [USER, GOOD]}],
    "trl_stepwise": [
        {"prompt": "1+1+1?", "completions": ["1+1=2", "2+1=4"], "labels": [True, False]}
    ],
}
EVERY = [(name, row) for name, rows in ROWS.items() for row in rows]


def one(row, **options):
    [record] = load([row], **options)
    return record


@pytest.mark.parametrize(("name", "row"), EVERY)
def test_recognised_alone_and_written_back(name, row):
    records = load([row])
    assert records.format == name
    assert list(FORMATS[name].write(records[0])) == [row]


# --- Preference ---------------------------------------------------------------------------------


def test_text_and_chat_differ_in_form():
    text, chat = (one(row) for row in ROWS["trl_preference"][:2])
    assert (text.tags, chat.tags) == ({"form": "text"}, {})
    assert text.context == chat.context
    assert text.candidates == chat.candidates
    assert [judgment.winner for judgment in text.judgments] == ["c0"]


@pytest.mark.parametrize(
    ("chosen", "rejected", "context", "lengths"),
    [
        ([USER, GOOD], [USER, BAD], 1, (1, 1)),
        # a shared answer belongs to the prompt
        ([USER, GOOD, ASK, GOOD], [USER, GOOD, ASK, BAD], 3, (1, 1)),
        # the sides part early
        ([USER, GOOD, ASK, GOOD], [USER, BAD, ASK, GOOD], 1, (3, 3)),
        # equal sides keep their last message
        ([USER, GOOD], [USER, GOOD], 1, (1, 1)),
        ([USER, GOOD], [USER, GOOD, ASK, BAD], 1, (1, 3)),
        ([GOOD], [BAD], 0, (1, 1)),
    ],
)
def test_implicit_prompt_is_the_longest_common_prefix_of_messages(
    chosen, rejected, context, lengths
):
    record = one({"chosen": chosen, "rejected": rejected})
    assert len(record.context) == context
    assert tuple(len(c.messages) for c in record.candidates) == lengths


def test_the_prefix_is_never_one_of_characters():
    """TRL's extract_prompt would take "Hi! I " into the prompt."""
    record = one(
        {
            "chosen": [USER, {"role": "assistant", "content": "Hi! I help."}],
            "rejected": [USER, {"role": "assistant", "content": "Hi! I don't."}],
        }
    )
    assert [c.text for c in record.candidates] == ["Hi! I help.", "Hi! I don't."]


def test_a_prompt_that_the_sides_repeat_is_taken_once():
    whole = {"prompt": [USER], "chosen": [USER, GOOD], "rejected": [USER, BAD]}
    assert [len(c.messages) for c in one(whole).candidates] == [1, 1]
    named = {"prompt": "Hi", "chosen": [USER, GOOD], "rejected": [USER, BAD]}
    assert (one(named).context, one(named).tags) == (one(whole).context, {})


def test_extra_columns_are_mapped():
    row = {"prompt": "Hi", "chosen": "a", "rejected": "b", "margin": "2", "weight": 0.5}
    record = one({**row, "score_chosen": 8, "score_rejected": 3.5, "tools": '[{"name": "f"}]'})
    assert record.judgments[0].strength == 2
    assert record.tags == {"form": "text", "weight": 0.5}
    assert record.judgments[1].scores == {"c0": 8, "c1": 3.5}
    assert record.judgments[1].scale == (None, None)
    assert record.tools == ({"name": "f"},)
    view = Records.of([record]).pairs()
    assert (view.rows[0]["weight"], view.rows[0]["margin"]) == (0.5, 2.0)


def test_a_rationale_is_the_reason_of_the_judgment():
    row = {"prompt": "Hi", "chosen": "a", "rejected": "b", "rationale": "it is true"}
    assert one(row).judgments[0].rationale == "it is true"
    with pytest.raises(RecordError, match="rationale"):
        FORMATS["trl_preference"].read({**row, "rationale": 3}, Where("x", 0))


def test_images_fill_their_places_or_come_first():
    row = {"prompt": "What is it?", "chosen": "A cat", "rejected": "A dog", "image": "cat.png"}
    assert one(row).context[0].content == (
        Part("image", uri="cat.png"),
        Part("text", text="What is it?"),
    )
    placed = [{"type": "text", "text": "See"}, {"type": "image"}, {"type": "image"}]
    chat = {"prompt": [{"role": "user", "content": placed}], "chosen": [GOOD], "rejected": [BAD]}
    record = one({**chat, "images": ["a.png", {"bytes": b"raw", "path": None}]})
    assert record.context[0].content == (
        Part("text", text="See"),
        Part("image", uri="a.png"),
        Part("image", data="cmF3"),
    )
    with pytest.raises(RecordError, match="3 images, but the prompt has places for 2"):
        FORMATS["trl_preference"].read({**chat, "images": ["a", "b", "c"]}, Where("x", 0))


def test_tool_calls_and_thinking_survive():
    call = {"type": "function", "function": {"name": "add", "arguments": {"a": 1}}}
    said = {"role": "assistant", "content": None, "tool_calls": [call], "reasoning_content": "Hm"}
    answer = {"role": "tool", "content": "2", "tool_call_id": "1"}
    row = {"prompt": [USER], "chosen": [said, answer, GOOD], "rejected": [BAD]}
    record = one(row)
    first, second, _ = record.candidates[0].messages
    assert (first.content, first.tool_calls, first.thinking) == ("", (call,), "Hm")
    assert second.tool_call_id == "1"
    [back] = FORMATS["trl_preference"].write(record)
    assert back["chosen"][0] == {
        "role": "assistant",
        "content": "",
        "thinking": "Hm",
        "tool_calls": [call],
    }


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"chosen": "Human: a", "rejected": "Human: b"}, "there is no `prompt`: where the prompt"),
        ({"prompt": "Hi", "chosen": "a", "rejected": [BAD]}, "must both be text or both be mess"),
        ({"prompt": "Yo", "chosen": [USER, GOOD], "rejected": [USER, BAD]}, "that do not begin"),
        ({"chosen": [USER, GOOD], "rejected": [ASK, BAD]}, "begin with different prompts"),
        ({"prompt": "Hi", "chosen": "a", "rejected": "b", "margin": -1}, "Swap the sides"),
        ({"prompt": "Hi", "chosen": "a", "rejected": "b", "margin": "x"}, "must be a number"),
        ({"prompt": "Hi", "chosen": "a", "rejected": "b", "weight": -1}, "`weight` must be at le"),
        ({"prompt": "Hi", "chosen": "a", "rejected": "b", "tools": "x"}, "`tools` is text, but no"),
        (
            {"prompt": "Hi", "chosen": "a", "rejected": "b", "chat_template_kwargs": {"a": 1}},
            "unknown key `chat_template_kwargs` for trl_preference",
        ),
        ({"prompt": [{"content": "x"}], "chosen": [GOOD], "rejected": [BAD]}, "`role` is missing"),
        (
            {"prompt": [{**USER, "colour": 1}], "chosen": [GOOD], "rejected": [BAD]},
            "prompt[0]: unknown key `colour`",
        ),
        (
            {"prompt": [USER], "chosen": [{"role": "assistant"}], "rejected": [BAD]},
            "chosen[0]: `content` is missing.",
        ),
    ],
)
def test_refused(row, said):
    with pytest.raises(RecordError) as caught:
        FORMATS["trl_preference"].read(row, Where("x", 0))
    assert said in str(caught.value)


def test_transcripts_are_not_taken_for_preference_rows():
    row = {"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: a\n\nAssistant: c"}
    assert load([row]).format == "hh_rlhf"


def test_every_decided_pair_is_a_row(make_record, vote):
    judged = [vote("c0"), vote("c2", shown=("c1", "c2")), vote("tie", shown=("c0", "c2"))]
    record = make_record(replies=["a", "b", "c"], judgments=judged)
    rows = list(FORMATS["trl_preference"].write(record))
    assert [(r["chosen"][0]["content"], r["rejected"][0]["content"]) for r in rows] == [
        ("a", "b"),
        ("c", "b"),
    ]


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@settings(deadline=None)
@given(TEXT, TEXT, TEXT, st.one_of(st.none(), st.floats(0, 9)))
def test_text_round_trip(prompt, chosen, rejected, margin):
    row = {"prompt": prompt, "chosen": chosen, "rejected": rejected}
    if margin is not None:
        row["margin"] = margin
    if prompt or chosen:
        record = FORMATS["trl_preference"].read(row, Where("x", 0))
        assert list(FORMATS["trl_preference"].write(record)) == [row]


# --- The others ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "score"), [(True, 1), (False, 0), ("true", 1), ("0", 0), (1, 1), ("False", 0)]
)
def test_labels(label, score):
    record = one({"prompt": "Hi", "completion": "a", "label": label})
    assert record.judgments[0].scores == {"c0": score}
    assert record.judgments[0].scale == (0, 1)


@pytest.mark.parametrize("label", ["good", 2, None, [], 0.5])
def test_labels_that_are_none(label):
    with pytest.raises(RecordError, match="`label` must be true or false"):
        FORMATS["trl_unpaired"].read({"prompt": "", "completion": "", "label": label}, Where("", 0))


def test_prompts_have_no_candidates():
    assert one({"prompt": "Hi"}).candidates == ()


def test_language_modelling_has_no_context():
    text, chat = (one(row) for row in ROWS["trl_language_modelling"])
    assert (text.context, chat.context) == ((), ())
    assert (text.tags, len(chat.candidates[0].messages)) == ({"form": "text"}, 2)


def test_steps_carry_labels():
    candidate = one(ROWS["trl_stepwise"][0]).candidates[0]
    assert [(step.text, step.label) for step in candidate.steps] == [
        ("1+1=2", True),
        ("2+1=4", False),
    ]
    assert candidate.text == "1+1=2\n2+1=4"
    with pytest.raises(RecordError, match="1 `completions`, but 2 `labels`"):
        FORMATS["trl_stepwise"].read(
            {"prompt": "", "completions": ["a"], "labels": [True, True]}, Where("", 0)
        )


def test_unpaired_export_takes_pairs_apart(make_record, vote, rating):
    rows = list(FORMATS["trl_unpaired"].write(make_record(judgments=[vote("c1")])))
    assert [(row["completion"][0]["content"], row["label"]) for row in rows] == [
        ("no", True),
        ("yes", False),
    ]
    stars = make_record(judgments=[rating({"c0": 3, "c1": 4})])
    assert list(FORMATS["trl_unpaired"].write(stars)) == []
    assert list(FORMATS["trl_prompt_completion"].write(stars)) == []


def test_prompt_completion_export_leaves_losers_out(make_record, vote):
    rows = list(FORMATS["trl_prompt_completion"].write(make_record(judgments=[vote("c1")])))
    assert [row["completion"][0]["content"] for row in rows] == ["no"]


def test_exports_name_what_they_lose(make_record, vote):
    record = make_record(judgments=[vote("c0", count=2)])
    losses = {name: set(FORMATS[name].losses(record)) for name in FORMATS}
    assert losses["prefine"] == set()
    assert losses["trl_preference"] == {"id and source", "raters", "counts and repeats"}
    assert "comparisons" in losses["trl_unpaired"]
    assert "candidates" in losses["trl_prompt_only"]
    assert "border between prompt and response" in losses["trl_language_modelling"]


TRL = [name for name in FORMATS if name.startswith("trl_") and name != "trl_stepwise"]


@pytest.mark.parametrize("name", TRL)
@pytest.mark.parametrize("part", [Part("document", text="So."), Part("item", id="t1")])
def test_what_a_message_of_trl_cannot_hold_is_not_written(make_record, vote, name, part):
    """A row with a part that nobody reads would have lost it in silence."""
    record = make_record(judgments=[vote("c0")])
    asked = (Message("user", (Part("text", text="Why?"), part)),)
    assert list(FORMATS[name].write(replace(record, id="", context=asked))) == []


def test_a_place_for_an_image_stays_a_place(make_record):
    asked = (Message("user", (Part("image"), Part("text", text="What is it?"))),)
    record = replace(make_record(replies=[]), id="", context=asked)
    [row] = FORMATS["trl_prompt_only"].write(record)
    assert row["prompt"][0]["content"][0] == {"type": "image"}
    assert FORMATS["trl_prompt_only"].read(row, Where("x", 0)).context == asked


def test_bytes_and_their_path_are_both_written(make_record):
    image = Part("image", uri="cat.png", data="YQ==")
    record = replace(make_record(replies=[]), id="", context=(Message("user", (image,)),))
    [row] = FORMATS["trl_prompt_only"].write(record)
    assert row["prompt"][0]["content"] == [
        {"type": "image", "image": {"bytes": "YQ==", "path": "cat.png"}}
    ]
    assert FORMATS["trl_prompt_only"].read(row, Where("x", 0)).context == record.context
    named = replace(image, mime="image/png")
    record = replace(record, id="", context=(Message("user", (named,)),))
    assert "details of parts" in FORMATS["trl_prompt_only"].losses(record)


def test_responses_to_nothing(make_record, vote):
    """Without a prompt a pair is written as its sides alone, a single response not at all."""
    record = replace(make_record(judgments=[vote("c0")]), id="", context=())
    [row] = FORMATS["trl_preference"].write(record)
    assert list(row) == ["chosen", "rejected"]
    assert FORMATS["trl_preference"].read(row, Where("x", 0)).context == ()
    assert list(FORMATS["trl_unpaired"].write(record)) == []
    assert list(FORMATS["trl_prompt_completion"].write(record)) == []
