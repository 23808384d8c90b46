"""Hint versus answer: rate and gap of the mean log-probability."""

import json
from typing import Any

import pytest

from prefine.errors import StatisticError
from prefine.evaluation import scaffolding_report


def row(cluster: str, state: str | None = None, **more: Any) -> dict[str, Any]:
    roles = ("chosen", "rejected")
    return {
        "items": [{"prompt": 0, "response": k, "role": role} for k, role in enumerate(roles)],
        "responses": ['[{"content": "Try."}]', '[{"content": "It is 4."}]'],
        "tie": False, "prob": None, "weight": 1.0, "cluster": cluster,
        "tags": json.dumps({} if state is None else {"student": state}), **more,
    }  # fmt: skip


def test_lengths_do_not_decide():
    # a token: -8/4 = -2 against -3/1 = -3, though the sum of the answer is higher; and -3 to -1
    report = scaffolding_report([row("a"), row("b")], [[-8, -3], [-6, -2]], [[4, 1], [2, 2]])
    assert report["hint_rate"].value == 0.5
    assert report["hint_gap"].value == pytest.approx((1 - 2) / 2)
    assert report.keys() == {"scored", "hint_rate", "hint_gap"}


def test_states_stand_apart():
    rows = [row("a", "stuck"), row("b", "stuck"), row("c", "right")]
    report = scaffolding_report(rows, [[-1, -2], [-3, -2], [-1, -5]], [[1, 1]] * 3)
    assert report["hint_rate/stuck"].value == 0.5
    assert report["hint_gap/right"].value == 4.0


def test_ties_and_what_was_not_scored_are_left_out():
    rows = [row("a"), row("b", tie=True), row("c")]
    nan = float("nan")
    report = scaffolding_report(rows, [[-1, -2], [-9, -1], [nan, nan]], [[1, 1]] * 3)
    assert report["hint_rate"].value == 1.0
    assert report["scored"].value == pytest.approx(2 / 3)


def test_an_empty_reply_has_no_mean():
    with pytest.raises(StatisticError, match="above 0"):
        scaffolding_report([row("a")], [[-1, -2]], [[0, 1]])
