"""The demo's sums, its criteria and its folder; `tests/cli/test_demo.py` runs all of it.

Here a seed runs at about a third of its size.
"""

import copy
import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prefine.errors import RunFolderError
from prefine.ledger import demo as demo_module
from prefine.ledger.answers import Answers
from prefine.ledger.base_model import BaseSettings
from prefine.ledger.demo import combine, criteria, demo
from prefine.ledger.demo_seed import Policies, Settings, compare, run_seed
from prefine.ledger.worlds import words
from prefine.records import load

PROMPT = "tell me about the bees and the boat ."
NICE = "the warm bees sing . a cat rests ."  # 9 words, gold 1.5 + 1.5 - 0.45
RUDE = "the grim bees sing . a cat rests ."  # 9 words, gold 1.5 - 1.5 - 0.45
PILE = "warm warm warm"  # 3 words, gold 4.5 - 0.15, no sentence


def stat(value: float, half: float = 0.01) -> dict[str, Any]:
    return {"value": value, "low": value - half, "high": value + half, "n": 9, "method": "made up"}


def summary(
    gain: float = 1.0, control: float = 0.0, grammar: float = 0.0, per_word: float = 0.1
) -> dict[str, Any]:
    """What one seed found, as `demo.json` has it."""
    sides = {"sft": stat(0.5), "dpo": stat(0.5)}
    numbers = {
        "gold_reward": {
            **sides,
            "difference": stat(gain),
            "shuffled_difference": stat(control),
        },
        "validity": {**sides, "difference": stat(grammar)},
        "gold_per_word": {**sides, "difference": stat(per_word)},
        "length": {**sides, "difference": stat(0.0)},
        "shuffled": {
            name: stat(0.0) for name in ("validity", "gold_per_word", "length", "kl")
        },
        "kl": stat(1.0),
        "reward_model": {
            name: stat(0.8) for name in ("accuracy", "baseline_longer", "difference_to_longer")
        },
    }  # fmt: skip
    return numbers


@pytest.mark.parametrize(
    ("found", "failing"),
    [
        ({}, None),
        ({"gain": 0.009}, 0),  # the interval holds 0
        ({"control": 0.13}, 1),
        ({"control": -0.11}, 1),  # either way
        ({"gain": 2.7, "grammar": -0.23}, 2),  # gold bought with grammar
        ({"grammar": 0.031}, 2),
        ({"per_word": 0.005}, 3),
        ({"per_word": -0.1}, 3),  # gold bought with words
    ],
)
def test_each_criterion_can_fail(found: dict[str, float], failing: int | None):
    held = [criterion.holds for criterion in criteria(summary(**found))]
    expected = [True] * 4
    if failing is not None:
        expected[failing] = False
    if found.get("gain") == 0.009:
        expected[1] = True  # 0 is less than a tenth of anything
    assert held == expected


def test_seeds_are_combined_by_a_t_interval_over_paired_seeds():
    both = combine([summary(gain=1.0), summary(gain=2.0)])["gold_reward"]["difference"]
    # two seeds: mean 1.5, standard error 0.5, t(0.975, 1) = 12.7062
    assert both["value"] == 1.5
    assert both["low"] == pytest.approx(1.5 - 12.7062 * 0.5, abs=1e-3)
    assert (both["n"], both["method"]) == (2, "t over paired seeds")
    assert combine([summary()])["gold_reward"]["difference"]["method"] == "made up"


def test_policies_are_compared_by_hand():
    def answers(policy: str, *texts: str) -> Answers:
        return Answers(policy, [PROMPT, PROMPT + " "], [texts, texts])

    numbers = compare(
        Policies(
            answers("sft", RUDE, NICE), answers("dpo", NICE, PILE), answers("shuffled", RUDE, NICE)
        )
    )
    gold = numbers["gold_reward"]
    assert gold["sft"]["value"] == pytest.approx((-0.45 + 2.55) / 2)
    assert gold["dpo"]["value"] == pytest.approx((2.55 + 4.35) / 2)
    assert gold["difference"]["value"] == pytest.approx(2.4)
    assert gold["shuffled_difference"]["value"] == 0
    assert numbers["validity"]["sft"]["value"] == 1
    assert numbers["validity"]["dpo"]["value"] == 0.5
    assert numbers["length"]["difference"]["value"] == -3
    per_word = (2.55 / 9 + 4.35 / 3) / 2 - (-0.45 / 9 + 2.55 / 9) / 2
    assert numbers["gold_per_word"]["difference"]["value"] == pytest.approx(per_word)
    assert gold["difference"]["n_clusters"] == 2


def test_an_endless_answer_is_not_grammatical():
    assert not words.valid("the bees rest . a cat is grim . <unk>")


def test_measures_are_per_answer_in_order():
    answers = Answers("sft", [PROMPT], [[NICE, PILE]])
    np.testing.assert_allclose(answers.measure("gold"), [2.55, 4.35])
    np.testing.assert_array_equal(answers.measure("validity"), [1, 0])
    assert answers.clusters == [PROMPT, PROMPT]
    (record,) = answers.records(most=1)
    assert [candidate.gold for candidate in record.candidates] == [pytest.approx(2.55)]


# --- The folder ---------------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let a seed take no time; the list tells which seeds ran."""
    ran: list[int] = []

    def run_seed(folder: Path, seed: int, settings: Settings, stage: Any) -> dict[str, Any]:
        assert not any(folder.iterdir()), "a seed starts in an empty folder"
        ran.append(seed)
        with stage("a stage"):
            (folder / "model").mkdir()
            (folder / "model" / "weights").write_text(str(seed))
        answer = {"text": "<script>x</script>", "gold": 1.0, "valid": False}
        return {
            "numbers": copy.deepcopy(summary(gain=1.0 + seed / 10)),
            "examples": [{"prompt": PROMPT, "answers": {"sft": answer}}],
            "models": {name: str(folder / "model") for name in ("sft", "dpo", "reward")},
            "seconds": 1.0,
        }

    monkeypatch.setattr(demo_module, "run_seed", run_seed)
    return ran


def test_a_demo_leaves_numbers_a_page_and_models(tmp_path: Path, quick: list[int]):
    summary = demo(tmp_path / "out", seed=3, seeds=2)
    assert json.loads((tmp_path / "out" / "demo.json").read_text()) == summary
    assert (summary["seeds"], quick) == ([3, 4], [3, 4])
    assert summary["seconds"] == 2.0
    assert summary["gold_reward"]["difference"]["value"] == pytest.approx(1.35)
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "<script>x" not in page
    assert "Everything it must show holds." in page
    picture = (tmp_path / "out" / "demo.svg").read_text(encoding="utf-8")
    assert picture.startswith("<svg")
    assert "background: #fff" in picture
    for name in ("sft", "dpo", "reward"):  # of the first seed
        assert (tmp_path / "out" / "models" / name / "weights").read_text() == "3"


def test_a_demo_goes_on_where_it_stopped(tmp_path: Path, quick: list[int]):
    demo(tmp_path / "out", seeds=1)
    torn = tmp_path / "out" / "seeds" / "1"
    torn.mkdir()
    (torn / "half").write_text("of a seed that was killed")
    summary = demo(tmp_path / "out", seeds=3, resume=True)
    assert quick == [0, 1, 2], "seed 0 was taken over"
    assert summary["seeds"] == [0, 1, 2]
    with pytest.raises(RunFolderError, match="comes from a demo with other settings"):
        demo(tmp_path / "out", seeds=1, resume=True, settings=Settings(beta=1.0))


def test_a_folder_in_use_is_refused(tmp_path: Path, quick: list[int]):
    demo(tmp_path / "out")
    with pytest.raises(RunFolderError, match="Pass --resume to go on"):
        demo(tmp_path / "out")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("years of work")
    with pytest.raises(RunFolderError, match="is not empty and holds no demo"):
        demo(tmp_path / "home", resume=True)
    with pytest.raises(RunFolderError, match="is a file"):
        demo(tmp_path / "home" / "thesis.tex")
    assert quick == [0]


def test_settings_reach_the_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A seed at a small scale: every stage announces itself, and the control keeps the pairs."""
    monkeypatch.setenv("PREFINE_CACHE", str(tmp_path / "cache"))
    stages: list[str] = []
    settings = Settings(
        prompts=24, pairs=1, held_out=8, samples=2, batch_size=8,
        base=BaseSettings(corpus=32, epochs=1, batch_size=16),
    )  # fmt: skip

    def stage(text: str) -> Any:
        stages.append(text)
        return nullcontext()

    found = run_seed(tmp_path / "seed", 5, settings, stage)
    assert len(stages) == 6
    assert set(found["models"]) == {"sft", "dpo", "reward"}
    true, control = (load(tmp_path / "seed" / "data" / f"{n}.jsonl") for n in ("pairs", "shuffled"))
    assert [r.candidates for r in true] == [r.candidates for r in control]
    assert [r.judgments for r in true] != [r.judgments for r in control]
    assert len(true) == 24
    again = run_seed(tmp_path / "again", 5, settings, stage)
    assert again["numbers"] == found["numbers"], "a seed is a seed"


@pytest.mark.slow
def test_a_smaller_seed_points_the_same_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PREFINE_CACHE", str(tmp_path / "cache"))
    settings = Settings(
        prompts=1_000, held_out=100, samples=4, base=BaseSettings(corpus=6_000, epochs=3)
    )
    found = run_seed(tmp_path / "seed", 0, settings, lambda _: nullcontext())["numbers"]
    gold, reward = found["gold_reward"], found["reward_model"]
    assert gold["difference"]["low"] > 0.3
    assert abs(gold["shuffled_difference"]["value"]) < 0.3 * gold["difference"]["value"]
    assert found["gold_per_word"]["difference"]["low"] > 0
    assert reward["accuracy"]["value"] > reward["baseline_longer"]["value"]
    assert found["kl"]["low"] > 0
