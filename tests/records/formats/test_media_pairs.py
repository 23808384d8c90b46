"""Pairs of videos and of recordings: by path and by bytes, with verdicts on several aspects."""

import csv
import json
from pathlib import Path

import pytest

from prefine.errors import RecordError, TooManyRejects
from prefine.records import load
from prefine.records.formats import FORMATS
from prefine.records.formats.format import Where

SAMPLES = Path(__file__).parent / "samples"
# The third row of the project's example.csv.
VIDEOS = json.loads((SAMPLES / "videoalign.json").read_text("utf-8"))
# The fields of the card, with values of our own.
SPEECH = json.loads((SAMPLES / "speechjudge.json").read_text("utf-8"))


def read(name, row):
    return FORMATS[name].read(row, Where("x.csv", 0))


def test_one_real_pair_of_videos():
    record = read("videoalign", VIDEOS)
    assert [(j.aspect, j.winner) for j in record.judgments] == [
        ("VQ", "c0"),
        ("MQ", "tie"),
        ("TA", "tie"),
    ]
    [first] = record.candidates[0].messages[0].content
    [second] = record.candidates[1].messages[0].content
    assert (first.type, first.uri) == ("video", "videos/example_3_A.mp4")
    assert second.uri == "./videos/example_3_B.mp4"
    assert record.candidates[1].stats == {"fps": 16, "num_frames": 60}


def table(path, *rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_a_table_of_videos_is_written_back(tmp_path):
    named = {**VIDEOS, "A_model": "m0", "B_model": "m1", "Overall": "B"}
    records = load(table(tmp_path / "in.csv", named, {**named, "VQ": "invalid"}))
    assert records.format == "videoalign"
    unread = records[1].judgments[0]
    assert (unread.valid, unread.raw, unread.winner) == (False, "invalid", None)
    exported = records.export("videoalign", tmp_path / "out.csv")
    assert exported.losses == {}
    again = load(tmp_path / "out.csv")
    for before, after in zip(records, again, strict=True):
        assert before.judgments == after.judgments
        assert before.candidates == after.candidates
    assert len(records.pairs(aspect="overall")) == 2


@pytest.mark.parametrize("path", ["../a.mp4", "/etc/hosts", "a/../../b.mp4"])
def test_videos_outside_the_data_are_refused(tmp_path, path):
    table(tmp_path / "in.csv", {**VIDEOS, "path_A": path})
    with pytest.raises(TooManyRejects, match="outside the data's folder"):
        load(tmp_path / "in.csv", rejects=tmp_path / "r.jsonl")


@pytest.mark.parametrize(
    ("name", "row", "said"),
    [
        ("videoalign", {**VIDEOS, "VQ": "C"}, "`VQ` must be one of A, B, same, invalid, got 'C'"),
        ("videoalign", {**VIDEOS, "path_A": None}, "`path_A` is missing"),
        ("videoalign", {**VIDEOS, "fps_A": "fast"}, "`fps_A` must be a number"),
        ("speechjudge", {**SPEECH, "audioA": None}, "the audio must be an address or"),
        ("speechjudge", {**SPEECH, "naturalness_annotation": ["A+2"]}, "1 values in"),
        ("speechjudge", {**SPEECH, "naturalness_annotation": ["A+3", "B+1"]}, "must be A"),
        ("speechjudge", {**SPEECH, "audioA_text_accuracy": [2, 1]}, "at most 1"),
    ],
)
def test_refused(name, row, said):
    with pytest.raises(RecordError, match=said):
        read(name, row)


def test_speech_of_two_raters():
    record = read("speechjudge", SPEECH)
    voice, text = record.context[0].content
    assert (voice.type, voice.uri, voice.data) == ("audio", "prompt.wav", "UklGRg==")
    assert (voice.text, text.text) == ("Hello.", "Good morning.")
    natural, accurate, tie, _ = record.judgments
    assert (natural.winner, natural.strength, natural.raw) == ("c0", 2, "A+2")
    assert (accurate.aspect, accurate.scores) == ("text_accuracy", {"c0": 1, "c1": 0})
    assert (tie.winner, tie.rater.id) == ("tie", "rater05")
    assert record.meta["naturalness_label"] == "A"
    assert record.source.row == "0"


def test_ties_stay_distinct():
    row = {**SPEECH, "naturalness_annotation": ["Tie (both not good)", "Tie (missing reason)"]}
    said = [j.winner for j in read("speechjudge", row).judgments if j.kind == "pair"]
    assert said == ["both_bad", "tie"]


def test_recordings_outside_the_data_are_refused(tmp_path):
    row = {**SPEECH, "prompt": {"bytes": None, "path": "../voice.wav"}}
    (tmp_path / "speech.jsonl").write_text(json.dumps(row))
    with pytest.raises(TooManyRejects, match="outside the data's folder"):
        load(tmp_path / "speech.jsonl", rejects=tmp_path / "r.jsonl")
