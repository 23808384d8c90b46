"""Effects and shares of a full factorial, and designs that have none."""

from itertools import product
from typing import Any

import numpy as np
import pytest

from prefine.errors import StatisticError
from prefine.statistics import factorial

LEVELS = {"a": (0, 1), "b": ("x", "y", "z")}


def runs_of(value: Any, levels: Any = LEVELS, seeds: int = 3) -> list[dict[str, Any]]:
    return [
        {**dict(zip(levels, at, strict=True)), "seed": seed, "value": value(seed, *at)}
        for seed in range(seeds)
        for at in product(*levels.values())
    ]


def test_numbers_worked_out_by_hand() -> None:
    # [[0, 1, 5], [2, 3, 10]], mean 3.5. a: 2, 5, so +-1.5, squares 6 * 2.25 = 13.5.
    # b: 1, 2, 7.5, so -2.5, -1.5, 4, squares 2 * (6.25 + 2.25 + 16) = 49.
    # left: [0.5, 0.5, -1] and minus it, squares 2 * 1.5 = 3; total 65.5
    table = {(0, "x"): 0, (0, "y"): 1, (0, "z"): 5, (1, "x"): 2, (1, "y"): 3, (1, "z"): 10}
    found = factorial(runs_of(lambda seed, a, b: table[a, b] + 10 * seed), LEVELS)
    assert found.effects["a"][1].value == pytest.approx(3.0)
    assert [found.effects["b"][at].value for at in ("y", "z")] == pytest.approx([1.0, 6.5])
    assert found.spread["b"].value == pytest.approx(6.5)
    shares = {name: stat.value for name, stat in found.shares.items()}
    assert shares == pytest.approx({"a": 13.5 / 65.5, "b": 49 / 65.5, "a x b": 3 / 65.5})
    assert 0 not in found.effects["a"], "the first level is what others are held against"


def test_the_interval_is_over_seeds() -> None:
    found = factorial(runs_of(lambda seed, a, b: a * (1.0 + seed) + (b == "z")), LEVELS)
    effect = found.effects["a"][1]  # 1, 2, 3 of the three seeds
    assert (effect.value, effect.n) == (pytest.approx(2.0), 3)
    assert effect.high - effect.value == pytest.approx(4.302653 / 3**0.5, rel=1e-5)


def test_shares_add_up_and_noise_has_its_part_in_all() -> None:
    rng = np.random.default_rng(0)
    levels = {"a": (0, 1), "b": (0, 1), "c": (0, 1)}
    found = factorial(runs_of(lambda *_: rng.standard_normal(), levels, seeds=300), levels)
    values = {name: stat.value for name, stat in found.shares.items()}
    assert sum(values.values()) == pytest.approx(1.0)
    assert len(values) == 7
    assert all(abs(value - 1 / 7) < 0.03 for value in values.values())


def test_an_interaction_of_three_is_no_pair() -> None:
    levels = {"a": (-1, 1), "b": (-1, 1), "c": (-1, 1)}
    found = factorial(runs_of(lambda seed, a, b, c: a * b * c, levels), levels)
    assert found.shares["interactions of three and more"].value == pytest.approx(1.0)
    assert found.effects["a"][1].value == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda runs: runs[:-1], "seed 2: a 1, b z is absent from the design"),
        (lambda runs: [*runs, runs[0]], "a 0, b x was run twice"),
        (lambda runs: [*runs, {**runs[0], "b": "w"}], "a 0, b w is no level of the design"),
        (lambda runs: runs[:6], "two seeds or more, got 1"),
        (lambda runs: [{**run, "value": float("nan")} for run in runs], "must be finite"),
        (lambda runs: [{**run, "value": 1.0} for run in runs], "not all the same"),
    ],
)
def test_designs_that_say_nothing(change: Any, message: str) -> None:
    with pytest.raises(StatisticError, match=message):
        factorial(change(runs_of(lambda seed, a, b: a + 0.1 * seed)), LEVELS)


@pytest.mark.parametrize(
    "levels", [{"a": (0, 1)}, {"a": (0, 1), "b": ("x",)}, {"a": (0, 0, 1), "b": (1, 2)}]
)
def test_factors_that_are_none(levels: Any) -> None:
    with pytest.raises(StatisticError, match="two factors or more"):
        factorial([], levels)
