"""Feedback of other kinds: errors and corrections, biases, the votes of a crowd on comments."""

import copy
import csv
import gzip
import json
from collections import Counter
from pathlib import Path

import pytest

from prefine.errors import RecordError
from prefine.records import load
from prefine.records.formats import FORMATS
from prefine.records.formats.format import Where

SAMPLES = Path(__file__).parent / "samples"
# The first row of dev_feedback.json, its texts and lists cut.
ANSWERS = json.loads((SAMPLES / "fine_grained_qa.json").read_text("utf-8"))
# The first pair of biasbench.json, its responses cut.
BIAS = json.loads((SAMPLES / "evalbiasbench.json").read_text("utf-8"))
# The second row of brexit-consensus/votes.csv.
VOTE = json.loads((SAMPLES / "polis_votes.json").read_text("utf-8"))
CONVERSATIONS = (
    "15-per-hour-seattle",
    "brexit-consensus",
    "canadian-electoral-reform",
    "football-concussions",
)


def read(name, row):
    return FORMATS[name].read(row, Where("x.json", 0))


def test_feedback_on_four_answers():
    record = read("fine_grained_qa", ANSWERS)
    assert [c.id for c in record.candidates] == ["c0", "c1", "c2", "c3", "corrected"]
    pairs = {j.shown: j.winner for j in record.judgments if j.kind == "pair"}
    # [0, 1, 1, 0, 1, 1]
    assert pairs["c0", "c1"] == pairs["c1", "c2"] == "tie"
    assert pairs["c0", "c2"] == pairs["c0", "c3"] == "c0"
    assert (pairs["c1", "c3"], pairs["c2", "c3"]) == ("c1", "c2")
    error = next(j for j in record.judgments if j.kind == "signal")
    assert (error.target, error.polarity, error.category) == ("c0", -1, ("Irrelevant",))
    assert error.at == {"start": 260, "end": 330}
    edit = record.judgments[-1]
    assert (edit.edit_from, edit.edit_to) == ("c0", "corrected")
    passage, _, question = record.context[0].content
    assert (passage.type, passage.title) == ("document", "Evil Queen (Disney)")
    assert question.text == "[...] the name of the evil queen in snow white?"
    assert record.meta["gold"] == ANSWERS["gold"]
    assert list(FORMATS["fine_grained_qa"].write(record)) == [ANSWERS]
    assert FORMATS["fine_grained_qa"].losses(record) == frozenset()


def test_an_answer_left_as_it_was_is_no_edit():
    row = copy.deepcopy(ANSWERS)
    row["feedback"]["corrected-prediction"] = row["prediction 1"]
    record = read("fine_grained_qa", row)
    assert len(record.candidates) == 4
    assert list(FORMATS["fine_grained_qa"].write(record)) == [row]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"preference": [0, 1]}, "must hold 6 numbers, got 2"),
        ({"preference": [0, 1, 1, 0, 1, 3]}, "must hold 0, 1 or 2, got 3"),
        ({"preference": [0, 1, 1, 0, 1, True]}, "must hold 0, 1 or 2, got True"),
        ({"passages": [[]]}, "passage 0 has no title"),
        ({"feedback": {"errors": []}}, "`corrected-prediction` is missing"),
    ],
)
def test_answers_refused(change, said):
    with pytest.raises(RecordError, match=said):
        read("fine_grained_qa", ANSWERS | change)


def test_answers_agree_with_the_facts(shared_data, tmp_path):
    facts = json.loads(shared_data("FACTS.json").read_text())["fine_grained_qa"]
    path = shared_data("fine_grained_qa_feedback/dev_feedback.json.gz")
    records = load(path)
    assert (records.format, len(records)) == ("fine_grained_qa", facts["items"])
    said, errors = Counter(), Counter()
    for record in records:
        for judgment in record.judgments:
            if judgment.kind == "pair":
                said[str(("tie", *judgment.shown).index(judgment.winner))] += 1
            elif judgment.kind == "signal":
                errors[judgment.category[0]] += 1
    assert said == facts["preference entries (4 candidates, 6 pairs)"]
    assert errors == facts["error spans by type"]
    exported = records.export("fine_grained_qa", tmp_path / "out.json")
    assert exported.losses == {}
    with gzip.open(path, "rt", encoding="utf-8") as file:
        assert json.loads((tmp_path / "out.json").read_text("utf-8")) == json.load(file)


@pytest.mark.parametrize("label", [1, 2])
def test_a_pair_that_traps_a_bias(label):
    record = read("evalbiasbench", BIAS | {"label": label})
    assert [c.gold for c in record.candidates] == [label == 1, label == 2]
    assert record.judgments[0].winner == f"c{label - 1}"
    assert record.tags == {"bias": "length bias"}
    assert list(FORMATS["evalbiasbench"].write(record)) == [BIAS | {"label": label}]


@pytest.mark.parametrize("label", [0, 3, True, "first", None])
def test_another_label_is_refused(label):
    with pytest.raises(RecordError, match="`label` must be"):
        read("evalbiasbench", BIAS | {"label": label})


def test_all_biases(shared_data):
    by_bias = json.loads(shared_data("evalbiasbench/biasbench.json").read_text("utf-8"))
    rows = [row for rows in by_bias.values() for row in rows]
    records = load(rows)
    assert (records.format, len(records)) == ("evalbiasbench", 53)
    assert Counter(record.tags["bias"] for record in records) == {
        bias: len(rows) for bias, rows in by_bias.items()
    }
    assert [next(iter(FORMATS["evalbiasbench"].write(record))) for record in records] == rows


@pytest.mark.parametrize(("vote", "score"), [("1", 1), ("-1", -1), ("0", None), (0, None)])
def test_votes_on_a_comment(vote, score):
    record = read("polis_votes", VOTE | {"vote": vote})
    [rate] = record.judgments
    assert (rate.scores, rate.scale, rate.rater.id) == ({"0": score}, (-1, 1), "1")
    [part] = record.candidates[0].messages[0].content
    assert (part.type, part.id) == ("item", "0")
    assert list(FORMATS["polis_votes"].write(record)) == [VOTE | {"vote": score or 0}]


@pytest.mark.parametrize("change", [{"vote": "2"}, {"vote": None}, {"voter-id": None}])
def test_other_votes_are_refused(change):
    with pytest.raises(RecordError):
        read("polis_votes", VOTE | change)


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_votes_agree_with_the_facts(shared_data, name):
    """The facts count the last vote of each voter on each comment."""
    facts = json.loads(shared_data("FACTS.json").read_text())[f"polis/{name}"]
    path = shared_data(f"polis/{name}/votes.csv.gz")
    records = load(path)
    assert records.format == "polis_votes"
    last = {}
    for record in records:
        for judgment in record.judgments:
            when = int(json.loads(judgment.raw)["timestamp"])
            key = (record.source.row, judgment.rater.id)
            score = judgment.scores[record.candidates[0].id]
            last[key] = max(last.get(key, (0, 0)), (when, score or 0))
    votes = Counter(str(score) for _, score in last.values())
    counts = facts["votes (1 agree, 0 pass, -1 disagree; empty not seen)"]
    assert votes == {vote: count for vote, count in counts.items() if vote}
    with gzip.open(path, "rt", newline="") as file:
        rows = list(csv.DictReader(file))
    written = [row for record in records for row in FORMATS["polis_votes"].write(record)]
    assert [{**row, "vote": str(row["vote"])} for row in written] == rows
    assert all(isinstance(r.candidates[0].messages[0].content, str) for r in records)


def test_a_comment_that_is_not_there_is_refused(tmp_path):
    (tmp_path / "comments.csv").write_text("comment-id,author-id,comment-body\n5,1,Yes.\n")
    with pytest.raises(RecordError, match="has no comment 0"):
        FORMATS["polis_votes"].read(VOTE, Where("votes.csv", 0, folder=tmp_path))
