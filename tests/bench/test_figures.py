"""From made-up steps to figures: what they mean, and when a goal is met."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from prefine.bench.figures import figures, met, ratio, skipped
from prefine.bench.table import picture, show
from prefine.statistics import Stat

Made = Callable[..., dict[str, Any]]


def test_the_ratio_is_that_of_sums_over_pairs() -> None:
    stat = ratio([1.0, 3.0], [2.0, 3.0])
    assert stat.value == 1.25
    assert (stat.low, stat.high) == (1.0, 2.0)
    assert stat.n == 2


def test_a_long_step_counts_as_much_as_it_takes() -> None:
    """Medians would not see that the two sides are equally fast on the one long step."""
    stat = ratio([*[1.0] * 6, 10.0], [*[2.0] * 6, 10.0])
    assert stat.value == 22 / 16
    assert stat.low < 1.3


def test_lengths_that_vary_do_not_widen_the_interval() -> None:
    """Steps of other lengths take other times, but each pair's ratio is the same."""
    lengths = np.array([1.0, 5.0, 2.0, 9.0, 4.0, 7.0, 3.0])
    stat = ratio(lengths.tolist(), (2 * lengths).tolist())
    assert stat.low == pytest.approx(2)
    assert stat.high == pytest.approx(2)


def test_figures_leave_out_steps_that_were_not_timed(made: Made) -> None:
    shown = figures("made up", made())
    assert shown["speed"]["value"] == 2
    assert shown["tokens"] == {"prefine": 15, "trl": 22.5}
    assert shown["flops"] == {"prefine": 15, "trl": 22.5, "necessary": 12}
    assert shown["response_tokens_per_second"]["prefine"]["value"] == pytest.approx(10 / 3)
    assert shown["training_memory"] == {"prefine": 10, "trl": 40, "ratio": 0.25}
    assert shown["products"]["value"] == shown["products_cpu"]["value"] == 0.5
    assert shown["utilisation"]["value"] == pytest.approx(24 / 40 / 3)
    assert shown["first_step_seconds"] == {"prefine": 4, "trl": 4}
    assert [step["wall"] for step in shown["steps"]["trl"]] == [2, 4]
    assert shown["estimated"] == {
        "wall_seconds": 1, "wall_ratio": 1.5, "training_memory": 5, "memory_ratio": 2,
    }  # fmt: skip
    assert shown["met"] is None


def test_what_was_not_measured_is_neither_shown_nor_judged(made: Made) -> None:
    shown = figures("made up", made(gauge=None))
    assert "products" not in shown
    assert met({**shown, "goal": {"speed": 1.9}}) is True
    assert met({**shown, "goal": {"speed": 1.9, "products": 0.1}}) is None
    assert show([shown]).endswith("worst: made up, 2.00")


@pytest.mark.parametrize(
    ("goal", "expected"),
    [
        ({"speed": 1.9}, True),
        ({"speed": 2.1}, False),
        ({"speed": 1.9, "memory": 0.2}, False),
        ({"products": 0.5}, True),
        ({"products": 0.6}, False),
        ({"utilisation": 0.2}, True),
    ],
)
def test_a_goal_is_met_by_the_lower_end(goal: dict[str, float], expected: bool, made: Made) -> None:
    assert met({**figures("made up", made()), "goal": goal}) is expected


def test_a_share_above_the_whole_meets_no_goal_and_is_told(made: Made) -> None:
    slow = {"rates": [5.0], "busy_rates": [5.0], "peak": 5.0, "estimate": None}
    shown = figures("made up", made(gauge=slow))
    assert shown["estimated"] is None
    assert met({**shown, "goal": {"products": 0.8}}) is False
    assert "made up: products' share above 1, an error of measuring" in show([shown])


def test_a_case_that_cannot_be_run_is_shown_but_not_drawn(made: Made) -> None:
    results = [figures("made up", made()), skipped("bfloat16", "no units")]
    told = show(results)
    assert "| skipped: no units |" in told
    assert told.endswith("worst: made up, 2.00")
    assert "bfloat16" not in picture(results)
    assert "worst" not in show(results[1:])


def test_the_raw_steps_suffice_to_compute_the_ratio_again(made: Made) -> None:
    shown = figures("made up", made())
    ours, theirs = (
        [step["seconds"] for step in shown["steps"][side]] for side in ("prefine", "trl")
    )
    assert ratio(ours, theirs) == Stat.from_json(shown["speed"])
