"""PrefLib categories: approval ballots, categories that say nothing of better, files refused."""

import json
from pathlib import Path

import pytest

from prefine.errors import RecordError, TooManyRejects
from prefine.records import load
from prefine.records.formats import FORMATS
from prefine.records.formats.format import Where

# 00026-00000001.cat as PrefLib's specification prints it (which names 3 of 16 alternatives), with
# the alternatives after the third and the ballots after the fourth left out: counts as they then
# are.
PRINTED = """\
# FILE NAME: 00026-00000001.cat
# TITLE: GylesNonains
# DESCRIPTION:
# DATA TYPE: cat
# MODIFICATION TYPE: original
# RELATES TO:
# RELATED FILES: 00026-00000001.toc
# PUBLICATION DATE: 2017-04-13
# MODIFICATION DATE: 2022-09-16
# NUMBER ALTERNATIVES: 3
# NUMBER VOTERS: 36
# NUMBER UNIQUE PREFERENCES: 3
# NUMBER CATEGORIES: 2
# CATEGORY NAME 1: Yes
# CATEGORY NAME 2: No
# ALTERNATIVE NAME 1: Megret
# ALTERNATIVE NAME 2: Lepage
# ALTERNATIVE NAME 3: Gluckstein
13: 3,{1,2}
13: {},{1,2,3}
10: {1,3},2
"""
ROW = json.loads(
    (Path(__file__).parent / "samples" / "preflib_categorical.json").read_text("utf-8")
)
BIDS = ROW | {
    "NUMBER CATEGORIES": "3",
    "CATEGORY NAME 1": "yes",
    "CATEGORY NAME 2": "maybe",
    "CATEGORY NAME 3": "no",
    "NUMBER VOTERS": "87",
    "NUMBER UNIQUE PREFERENCES": "2",
    # The two ballots that the specification explains.
    "orders": ["1: 1,3,{}", "86: {}, 1, {2, 3}"],
}


def read(row):
    return FORMATS["preflib_categorical"].read(row, Where("x.cat", 0))


def test_one_printed_file(tmp_path):
    (tmp_path / "france.cat").write_text(PRINTED)
    records = load(tmp_path / "france.cat")
    assert (records.format, len(records)) == ("preflib_categorical", 1)
    record = records[0]
    assert record.context[0].text == "GylesNonains"
    first, second, third = record.judgments
    assert (first.count, first.scores, first.scale) == (13, {"3": 1, "1": 0, "2": 0}, (0, 1))
    assert set(second.scores.values()) == {0}
    assert third.scores == {"1": 1, "3": 1, "2": 0}
    assert record.meta["CATEGORY NAME 1"] == "Yes"


def test_approval_makes_points(tmp_path):
    """By hand: of 36 voters 10 approve of 1, none of 2, 13 + 10 of 3."""
    (tmp_path / "france.cat").write_text(PRINTED)
    view = load(tmp_path / "france.cat").lists()
    assert view.rows[0]["utility"] == pytest.approx([23 / 36, 10 / 36, 0])


def test_a_file_is_written_back(tmp_path):
    (tmp_path / "france.cat").write_text(PRINTED)
    exported = load(tmp_path / "france.cat").export("preflib_categorical", tmp_path / "back.cat")
    assert (tmp_path / "back.cat").read_text() == PRINTED
    assert exported.losses == {}


def test_other_categories_say_nothing_of_better():
    record = read(BIDS)
    assert [(j.target, j.category, j.polarity, j.count) for j in record.judgments] == [
        ("1", ("yes",), 0, 1),
        ("3", ("maybe",), 0, 1),
        ("1", ("maybe",), 0, 86),
        ("2", ("no",), 0, 86),
        ("3", ("no",), 0, 86),
    ]
    [row] = FORMATS["preflib_categorical"].write(record)
    assert row == BIDS | {"orders": ["1: 1,3,{}", "86: {},1,{2,3}"]}
    assert FORMATS["preflib_categorical"].losses(record) == frozenset()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"orders": ["13: 3,{1,2}"]}, "the header says `NUMBER VOTERS` '36', but there are 13"),
        ({"orders": ["13: 3,{1,2},{}"]}, "line 1 has 3 categories, the header names 2"),
        ({"orders": ["13: 3,{1,3}"]}, "line 1 places '3', twice"),
        ({"orders": ["13: 4,{1,2}"]}, "line 1 places '4', which the header does not name"),
        ({"orders": ["3,{1,2}"]}, "must be `count: categories`"),
        ({"NUMBER CATEGORIES": "0"}, "must be from 1 to 1000"),
        ({"NUMBER CATEGORIES": "9" * 400}, "must be from 1 to 1000"),
        ({"NUMBER CATEGORIES": "3"}, "`CATEGORY NAME 3` is missing"),
        ({"CATEGORY NAME 2": "Yes"}, "two categories have the same name"),
        ({"DATA TYPE": "toc"}, "`DATA TYPE` must be cat"),
    ],
)
def test_refused(change, said):
    with pytest.raises(RecordError, match=said):
        read(ROW | change)


def test_a_file_cut_short_is_refused(tmp_path):
    (tmp_path / "cut.cat").write_text(PRINTED.removesuffix("10: {1,3},2\n"))
    with pytest.raises(TooManyRejects, match="cut short"):
        load(tmp_path / "cut.cat", rejects=tmp_path / "r.jsonl")


@pytest.mark.parametrize(
    ("name", "said"), [("k.wmd", "a weighted matching graph"), ("k.dat", "extra data of PrefLib")]
)
def test_what_holds_no_preferences_is_refused_by_name(tmp_path, name, said):
    (tmp_path / name).write_text("1,5,1.0\n")
    with pytest.raises(RecordError, match=said):
        load(tmp_path / name)
