"""Runs side by side: arms, rows, tests and their correction, on folders written by hand."""

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prefine.audit import compare, comparison_report
from prefine.audit.compare_report import in_words, settings_lines, tables
from prefine.audit.measures import MEANINGS, measures
from prefine.errors import ConfigError, RunFolderError
from prefine.report import render
from prefine.runs import RunFolder
from prefine.statistics import holm, paired_cluster_bootstrap, sign_flip_test

ROWS = 60
Write = Callable[..., Path]


def pair(n: int, chosen: float, rejected: float, **more: Any) -> dict[str, Any]:
    return {
        "record": f"r{n}", "cluster": f"p{n // 2}", "text": f"t{n}",
        "roles": ["chosen", "rejected"], "scores": [chosen, rejected], "reference": [-3.0, -3.0],
        "length": [3.0, 3.0], "prob": None, "tie": False, "label": None, "weight": 1.0, **more,
    }  # fmt: skip


def rows_of(right: Sequence[float], **more: Any) -> list[dict[str, Any]]:
    """Pairs whose margin is given: above 0 the chosen one wins."""
    return [pair(n, -3.0 + float(gap), -3.0, **more) for n, gap in enumerate(right)]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return `write(name, rows, unit=..., **config)`: a finished run's folder."""

    def make(name: str, rows: Any, unit: str = "nats", **config: Any) -> Path:
        run = RunFolder(tmp_path / name).open()
        known = {"objective": "dpo", "options": {"beta": 0.1}, "data": "d", "seed": 0, **config}
        run.write_config({**known, "out": str(run.path), "header": {"unit": unit}})
        for step in (1, 2, 3):
            run.append({"step": step, "loss": 0.7 / step + 0.01 * known["seed"]})
        run.write_held_out(rows)
        return run.path

    return make


def noise(seed: int, shift: float = 0.0) -> Any:
    return np.random.default_rng(seed).normal(shift, 1.0, ROWS)


# --- Measures ------------------------------------------------------------------------------------


def test_measures_of_pairs_by_hand():
    rows = [
        pair(0, -2.0, -4.0),  # likelier; gained 1 against -1
        pair(1, -5.0, -4.0, length=[5.0, 2.0]),  # less likely, but more per token
        pair(2, -4.0, -2.0, prob=0.2),  # the second is the better one
        pair(3, -4.0, -2.0, tie=True),
        pair(4, -4.0, -2.0, scores=[None, -2.0]),
    ]
    found = measures(rows, "nats")
    nan = np.nan
    np.testing.assert_array_equal(found["accuracy"], [1, 0, 1, nan, nan])
    np.testing.assert_array_equal(found["accuracy_normalised"], [1, 1, 1, nan, nan])
    np.testing.assert_array_equal(found["margin"], [2, -1, 2, nan, nan])
    np.testing.assert_array_equal(found["log_prob_chosen"], [-2, -5, -4, -4, nan])
    rows[0]["reference"] = [-1.0, -4.0]
    gained = measures(rows, "nats")
    np.testing.assert_array_equal(gained["reward_accuracy"], [0, 0, 1, nan, nan])
    np.testing.assert_array_equal(gained["log_ratio_margin"], [-1, -1, 2, nan, nan])
    reward = measures(rows[:3], "reward")
    assert set(reward) == {"accuracy", "margin", "log_loss"}
    expected = [np.log1p(np.exp(-2)), np.log1p(np.exp(1)),
                0.2 * np.log1p(np.exp(2)) + 0.8 * np.log1p(np.exp(-2))]  # fmt: skip
    np.testing.assert_allclose(reward["log_loss"], expected)


def test_measures_of_points_and_lists_by_hand():
    point = {"roles": ["response"], "scores": [-4.0], "reference": [-5.0], "length": [2.0]}
    points = [{**point, "label": [True]}, {**point, "label": [False]}]
    found = measures(points, "nats")
    assert found["log_prob_per_token"].tolist() == [-2, -2]
    assert found["label_accuracy"].tolist() == [1, 0]
    listed = {"roles": ["response_0", "response_1"], "reference": None, "length": [1.0, 1.0]}
    lists = [{**listed, "scores": [-1.0, -2.0]}, {**listed, "scores": [-1.0, -1.0]}]
    assert measures(lists, "nats")["best_is_first"].tolist() == [1.0, 0.5]
    assert {*measures(points, "nats"), *measures(lists, "nats")} <= set(MEANINGS)


# --- Two runs ------------------------------------------------------------------------------------


def test_two_runs_are_compared_row_by_row(write: Write):
    ours, theirs = noise(0, 1.0), noise(0, 0.0)
    found = compare([write("a", rows_of(ours)), write("b", rows_of(theirs), options={"beta": 1})])
    assert [arm.name for arm in found.arms] == ["A (beta=0.1)", "B (beta=1)"]
    assert found.settings == {"options.beta": [0.1, 1]}
    by_name = {d.measure: d for d in found.differences}
    clusters = [f"p{n // 2}" for n in range(ROWS)]
    expected = paired_cluster_bootstrap(ours, theirs, clusters)
    assert by_name["margin"].stat == expected
    assert by_name["margin"].stat.value == pytest.approx(1.0)
    assert by_name["margin"].p == sign_flip_test(ours, theirs, clusters)
    assert by_name["margin"].differs
    assert [d.p_holm for d in found.differences] == holm([d.p for d in found.differences])


def test_equal_runs_do_not_differ(write: Write):
    found = compare([write("a", rows_of(noise(0))), write("b", rows_of(noise(0)), objective="ipo")])
    assert not any(d.differs for d in found.differences)
    assert {d.p for d in found.differences} == {1.0}
    assert "can be told from chance" in in_words(found)


def test_more_comparisons_demand_more(write: Write):
    """One difference alone would count; among the pairs of four arms it does not."""
    shifts = [0.0, 0.0, 0.0, 0.33]
    paths = [
        write(f"r{n}", rows_of(noise(n) + shift), options={"beta": n})
        for n, shift in enumerate(shifts)
    ]
    alone = compare([paths[0], paths[3]], ["margin"]).differences[0]
    among = compare(paths, ["margin"]).differences
    (same,) = (d for d in among if (d.first[0], d.second[0]) == ("A", "D"))
    assert len(among) == 6
    assert alone.p_holm == alone.p == same.p
    assert same.p_holm == pytest.approx(min(1, 6 * same.p), rel=0.5)
    assert same.p_holm > alone.p_holm


# --- Arms ----------------------------------------------------------------------------------------


def test_seeds_of_one_configuration_are_one_arm_paired_by_seed(write: Write):
    """Rows may differ from seed to seed: each seed splits off its own."""
    paths = []
    for seed in range(3):
        held = {"text": f"seed {seed}"}
        paths.append(write(f"a{seed}", rows_of(noise(seed, 0.5), **held), seed=seed))
        paths.append(write(f"b{seed}", rows_of(noise(seed), **held), seed=seed, objective="ipo"))
    found = compare(paths, ["margin"])
    assert [arm.seeds for arm in found.arms] == [[0, 1, 2], [0, 1, 2]]
    (difference,) = found.differences
    assert difference.stat.value == pytest.approx(0.5)
    assert (difference.stat.method, difference.stat.seeds) == ("t over paired seeds", 3)
    assert difference.p == 0.0, "a constant difference"
    assert found.means["A (objective=dpo)"]["margin"].method == "t over seeds"


def test_other_seeds_are_compared_without_pairing(write: Write):
    paths = [write(f"a{s}", rows_of(noise(s)), seed=s) for s in (0, 1, 2)]
    paths += [write(f"b{s}", rows_of(noise(s)), seed=s, objective="ipo") for s in (3, 4)]
    (difference,) = compare(paths, ["margin"]).differences
    assert difference.stat.method == "Welch's t over seeds"
    assert difference.stat.seeds == 5


def test_one_seed_against_several_is_over_rows(write: Write):
    paths = [write(f"a{s}", rows_of(noise(s)), seed=s) for s in (0, 1)]
    paths.append(write("b", rows_of(noise(0)), objective="ipo"))
    (difference,) = compare(paths, ["margin"]).differences
    assert difference.stat.method == "paired bootstrap over prompts"
    assert difference.stat.value == pytest.approx((noise(1) - noise(0)).mean() / 2)


def test_one_configuration_alone_has_nothing_to_differ_from(write: Write):
    found = compare([write(f"a{s}", rows_of(noise(s)), seed=s) for s in (0, 1, 2)])
    assert len(found.arms) == 1
    assert found.differences == []
    assert "seed alone" in in_words(found)
    assert found.means["A"]["accuracy"].seeds == 3


def test_policies_and_reward_models_share_their_accuracy(write: Write):
    rows = rows_of(noise(0))
    found = compare([write("a", rows), write("b", rows, unit="reward", objective="reward")])
    assert {d.measure for d in found.differences} == {"accuracy"}


# --- Refusals ------------------------------------------------------------------------------------


def refusal(*paths: Path, wanted: Sequence[str] = ()) -> str:
    with pytest.raises((RunFolderError, ConfigError)) as refused:
        compare(list(paths), list(wanted))
    return str(refused.value)


def test_other_rows_are_refused_in_words(write: Write):
    rows = rows_of(noise(0))
    a = write("a", rows)
    elsewhere = [{**row, "text": f"x{n}", "cluster": f"q{n}"} for n, row in enumerate(rows)]
    text = refusal(a, write("b", elsewhere, objective="ipo"))
    assert "60 held-out rows" in text
    assert "0 are the same" in text
    assert "--eval-data" in text
    other = [{**row, "text": f"x{n}"} for n, row in enumerate(rows)]
    assert "same prompts" in refusal(a, write("c", other, objective="ipo"))
    assert "another order" in refusal(a, write("d", rows[::-1], objective="ipo"))
    assert "59 are the same" in refusal(a, write("e", rows[:-1], objective="ipo"))


def test_what_cannot_be_compared_is_refused(write: Write, tmp_path: Path):
    a = write("a", rows_of(noise(0)))
    assert "two runs or more" in refusal(a)
    assert "would count twice" in refusal(a, write("again", rows_of(noise(0))))
    (tmp_path / "nothing").mkdir()
    assert "no run.yaml" in refusal(a, tmp_path / "nothing")
    bare = write("bare", rows_of(noise(0)), objective="ipo")
    (bare / "held_out.jsonl").unlink()
    assert "held nothing out" in refusal(a, bare)
    b = write("b", rows_of(noise(0)), objective="ipo")
    assert "'precision' is not a number" in refusal(a, b, wanted=["precision"])


def test_other_contents_of_the_same_path_are_another_configuration(write: Write):
    rows = rows_of(noise(0))
    a, b = write("a", rows), write("b", rows, seed=1)
    for path, fingerprint in ((a, "one"), (b, "two")):
        config = RunFolder(path).read_config()
        config["header"]["data"] = {"fingerprint": fingerprint}
        RunFolder(path).write_config(config)
    found = compare([a, b])
    assert len(found.arms) == 2
    assert found.settings == {"data (contents)": ["one", "two"]}


# --- Shown ---------------------------------------------------------------------------------------


def test_tables_page_and_json_hold_the_same_numbers(write: Write):
    from rich.console import Console

    paths = [write("a", rows_of(noise(0, 1.0))), write("b", rows_of(noise(0)), objective="ipo")]
    found = compare(paths, ["margin"])
    shown = io.StringIO()
    for table in tables(found):
        Console(width=120, file=shown).print(table)
    text = shown.getvalue()
    assert "A − B  margin" in text
    assert "< 0.001" in text
    assert "differs" in text
    assert settings_lines(found) == ["objective: A dpo; B ipo"]
    page = render(comparison_report(found))
    assert "A − B  margin" in page
    assert "after Holm &lt; 0.001" in page
    assert page.count("<svg") == 1, "the loss of both in one picture"
    assert "https:" not in page
    assert "<script" not in page
    made = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert made["differences"][0]["difference"]["value"] == pytest.approx(1.0)
    assert made["differences"][0]["differs"] is True
