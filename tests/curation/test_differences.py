"""Edits between two texts: worked out by hand, and applied again."""

import random

import pytest

from prefine.curation.differences import differences
from prefine.curation.rules import applied


@pytest.mark.parametrize(
    ("old", "new", "found", "kept"),
    [
        # Of It, is, 5, mg, ., Rest and . all but 5 stay.
        ("It is 5 mg. Rest.", "It is 50 mg. Rest.", [(5, " 5", " 50")], 6 / 7),
        ("a b c", "a c", [(1, " b", "")], 2 / 3),
        ("a c", "a b c", [(1, "", " b")], 2 / 3),
        ("a b", "a b c", [(3, "", " c")], 2 / 3),
        ("a b", "x y", [(0, "a b", "x y")], 0),
        ("a b", "a b", [], 1),
        ("", "a", [(0, "", "a")], 0),
        ("a", "", [(0, "a", "")], 0),
    ],
)
def test_cases_worked_out_by_hand(
    old: str, new: str, found: list[tuple[int, str, str]], kept: float
):
    edits, share = differences(old, new, "model")
    assert [(edit.start, edit.old, edit.new) for edit in edits] == found
    assert share == pytest.approx(kept)
    assert {edit.kind for edit in edits} <= {"model"}


def test_edits_that_are_applied_give_the_other_text():
    rng = random.Random(0)
    for _ in range(300):
        old, new = ("".join(rng.choices("ab .\n", k=rng.randrange(12))) for _ in range(2))
        edits, kept = differences(old, new, "model")
        assert applied(old, edits) == new
        assert 0 <= kept <= 1
        for edit in edits:
            assert old[edit.start :].startswith(edit.old)
