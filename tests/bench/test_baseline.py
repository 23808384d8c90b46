"""Figures beside earlier ones: red only where a whole interval is worse."""

from typing import Any

import pytest

from prefine.bench.baseline import remarks, slower
from prefine.bench.cases import Case


def case(name: str, low: float, value: float, high: float, **fields: Any) -> dict[str, Any]:
    speed = {"value": value, "low": low, "high": high}
    return {"name": name, "case": {**Case().to_json(), **fields}, "speed": speed}


EARLIER = {
    "machine": {"processor": "one"},
    "cases": [case("a", 1.8, 2.0, 2.2), {"name": "c", "case": {}, "skipped": "no units"}],
}


@pytest.mark.parametrize(
    ("now", "red"),
    [
        (case("a", 1.4, 1.6, 1.69), True),
        (case("a", 1.4, 1.6, 1.71), False),
        (case("a", 2.4, 2.6, 2.8), False),
    ],
)
def test_red_where_the_whole_interval_lies_below(now: dict[str, Any], red: bool) -> None:
    assert bool(slower([now], EARLIER)) is red


def test_it_says_which_and_by_how_much() -> None:
    assert slower([case("a", 1.0, 1.2, 1.5)], EARLIER) == ["slower: a, 1.20 [1.00, 1.50], was 2.00"]


def test_other_work_is_not_compared_but_named() -> None:
    results = [case("a", 0.1, 0.1, 0.1, prompt=7), case("b", 0.1, 0.1, 0.1), case("c", 1, 1, 1)]
    assert slower(results, EARLIER) == []
    assert remarks(results, EARLIER, "one") == ["No earlier figures of the same work: a, b, c."]


def test_another_processor_is_named() -> None:
    (said,) = remarks([case("a", 2, 2, 2)], EARLIER, "two")
    assert said.startswith("The earlier figures were taken on another processor: one")


def test_a_file_that_knows_fewer_fields_is_compared() -> None:
    old = {"machine": {}, "cases": [{**EARLIER["cases"][0], "case": {"preset": "d4k"}}]}
    assert slower([case("a", 1.0, 1.2, 1.5)], old)
