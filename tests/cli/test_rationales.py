"""`prefine train rationale_dpo`: preferences with the reasons for them, from rows to a report."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def explained(home: Path, tmp_path: Path) -> Path:
    """The pairs of `home`, three of four with a reason."""
    lines = (home / "pairs.jsonl").read_text(encoding="utf-8").splitlines()
    rows: list[dict[str, Any]] = [json.loads(line) for line in lines]
    for n, row in enumerate(rows):
        row["rationale"] = "yes is kind" if (n + 1) % 4 else None
    path = tmp_path / "explained.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def words(home: Path, data: Path, objective: str, out: Path, *more: str) -> list[str]:
    return [
        "train", objective, "--model", str(home / "model"), "--data", str(data),
        "--out", str(out), "--set", "training.use_cpu=true", "--set", "holdout=0.3",
        "--set", "training.per_device_train_batch_size=8",
        "--set", "training.learning_rate=1e-2", "--set", "training.num_train_epochs=4", *more,
    ]  # fmt: skip


@pytest.mark.parametrize("objective", ["rationale-dpo", "rationale-orpo"])
def test_both_terms_are_learnt_and_told_apart(
    objective: str, home: Path, explained: Path, tmp_path: Path, prefine: Call, undrawn: None
) -> None:
    out = tmp_path / "run"
    code, text, err = prefine(*words(home, explained, objective, out, "--json"))
    assert code == 0, err
    summary = json.loads(text)
    assert "[-0.5 l / n] (rationale)" in summary["formula"] or "-1 l / n" in summary["formula"]
    assert any("pairs have no reason" in note for note in summary["notes"])
    assert "reward_accuracy" in summary["metrics"] or objective == "rationale-orpo"
    steps = [json.loads(line) for line in (out / "metrics.jsonl").read_text("utf-8").splitlines()]
    first, last = steps[0]["rationale/loss"], steps[-2]["rationale/loss"]
    assert last < first
    assert "preference/loss" in steps[0]
    code, text, _ = prefine("diagnose", out, "--json")
    assert code in (0, 1)


def test_the_published_sum_is_an_option(
    home: Path, explained: Path, tmp_path: Path, prefine: Call
) -> None:
    more = ("--set", "rationale.summed=true", "--set", "rationale.gamma=0.001", "--dry-run")
    code, text, err = prefine(
        *words(home, explained, "rationale_dpo", tmp_path / "run", *more, "--json")
    )
    assert code == 0, err
    assert "[-log sigma(0.001 l)] (rationale)" in json.loads(text)["formula"]
    assert "Two responses to the above were compared." in err


def test_data_without_reasons_is_refused(home: Path, tmp_path: Path, prefine: Call) -> None:
    run = words(home, home / "pairs.jsonl", "rationale_dpo", tmp_path / "run")
    code, _, err = prefine(*run)
    assert code == 1
    assert "pairs has a reason, so there is nothing to explain" in err


@pytest.mark.parametrize("objective", ["kto", "reward", "sft"])
def test_objectives_without_pairs_of_a_policy_are_refused(
    objective: str, home: Path, explained: Path, tmp_path: Path, prefine: Call
) -> None:
    run = words(home, explained, objective, tmp_path / "run", "--set", "rationale.gamma=0.5")
    code, _, err = prefine(*run)
    assert code == 2
    assert "Choose a pair objective of policies" in err
