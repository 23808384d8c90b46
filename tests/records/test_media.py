"""Media: put where the texts name them, and never taken from outside the data's folder."""

import json
from dataclasses import replace

import pytest

from prefine.errors import RecordError, TooManyRejects
from prefine.records import Message, Part, Step, load
from prefine.records.media import Placed, ambiguous, medium, refuse_outside, unplaced


def row(uri):
    return {"prompt": "Which cat?", "completion": "This one.", "image": uri}


@pytest.mark.parametrize(
    "uri",
    ["cat.png", "a/b/cat.png", "./cat.png", "https://example.org/../cat.png", "data:image/png,AA"],
)
def test_inside(tmp_path, uri):
    (tmp_path / "a.jsonl").write_text(json.dumps({**row(uri)}))
    record = load(tmp_path / "a.jsonl", format="trl_prompt_completion")[0]
    assert record.context  # read, not set aside
    load([row(uri)], format="trl_prompt_completion")


@pytest.mark.parametrize(
    "uri",
    [
        "../cat.png",
        "a/../../cat.png",
        "/etc/passwd",
        "file:///etc/passwd",
        "FILE:cat.png",
        "C:\\cat.png",
        "\\\\server\\cat.png",
        "..\\cat.png",
        "a\0.png",
        "http://[",
    ],
)
def test_outside(tmp_path, uri):
    (tmp_path / "a.jsonl").write_text(json.dumps(row(uri)))
    for source in (tmp_path / "a.jsonl", [row(uri)]):
        with pytest.raises(TooManyRejects, match="outside the data's folder"):
            load(source, rejects=tmp_path / "r.jsonl", format="trl_prompt_completion")


def test_a_link_that_leads_out(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "secret.png").write_bytes(b"x")
    (tmp_path / "data" / "cat.png").symlink_to(tmp_path / "secret.png")
    (tmp_path / "data" / "a.jsonl").write_text(json.dumps(row("cat.png")))
    with pytest.raises(TooManyRejects, match="outside the data's folder"):
        load(
            tmp_path / "data" / "a.jsonl",
            rejects=tmp_path / "r.jsonl",
            format="trl_prompt_completion",
        )


def test_an_absolute_path_below_the_data(tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps(row(str(tmp_path / "cat.png"))))
    assert len(load(tmp_path / "a.jsonl", format="trl_prompt_completion")) == 1


def test_placed_in_order():
    placed = Placed({"images": ["a.png", {"bytes": "YQ==", "path": None}], "audios": ["a.wav"]})
    assert (
        placed.content("<video> stays: no videos are given") == "<video> stays: no videos are given"
    )
    assert placed.content("See <image>, hear <audio>.") == (
        Part("text", text="See "),
        Part("image", uri="a.png"),
        Part("text", text=", hear "),
        Part("audio", uri="a.wav"),
        Part("text", text="."),
    )
    with pytest.raises(RecordError, match="1 more images than the texts have <image>"):
        placed.finish()
    assert placed.content("<image>") == (Part("image", data="YQ=="),)
    placed.finish()
    with pytest.raises(RecordError, match="more <image> than there are images"):
        placed.content("<image>")


@pytest.mark.parametrize("value", [None, 1, {}, {"bytes": None}, {"url": "x"}, ["a.png"]])
def test_no_medium(value):
    with pytest.raises(RecordError, match="must be an address or"):
        medium("image", value)


def test_words_that_look_like_a_place():
    marked, image = Message("user", "What is <image>?"), Message("user", (Part("image", uri="a"),))
    assert ambiguous([marked, image])
    assert not ambiguous([marked])
    assert not ambiguous([image])
    assert unplaced(Message("user", (Part("image"),))) is None


def test_media_of_steps_are_looked_at(make_record):
    step = Step(part=Part("image", uri="/private.png"))
    record = make_record()
    shown = replace(record.candidates[0], steps=(step,))
    refuse_outside(record, None)
    with pytest.raises(RecordError, match="lies outside the data's folder"):
        refuse_outside(replace(record, candidates=(shown, *record.candidates[1:])), None)
