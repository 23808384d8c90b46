"""`prefine train spo`: pairs and damaged versions of their responses, from rows to a report."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

Call = Callable[..., tuple[int, str, str]]

THINGS = ("tea", "wind", "coal", "rope", "milk", "salt", "iron", "wool")


def said(n: int, *, good: bool) -> str:
    """Words that all responses hold, and three that few do; every fifth has none of those."""
    if n % 5 == 4:
        return "the of and is"
    first, second, third = (THINGS[(n * k + (not good)) % 8] for k in (1, 3, 5))
    return f"the {first} of the {second} and the {third} is {'here' if good else 'gone'} "


@pytest.fixture
def telling(tmp_path: Path) -> Path:
    """Pairs of which four in five have key words."""
    rows = [
        {
            "prompt": [{"role": "user", "content": f"say {n}"}],
            "chosen": [{"role": "assistant", "content": said(n, good=True)}],
            "rejected": [{"role": "assistant", "content": said(n, good=False) + "."}],
        }
        for n in range(40)
    ]
    path = tmp_path / "telling.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def words(home: Path, data: Path, objective: str, out: Path, *more: str) -> list[str]:
    return [
        "train", objective, "--model", str(home / "model"), "--data", str(data),
        "--out", str(out), "--set", "training.use_cpu=true", "--set", "holdout=0.2",
        "--set", "training.per_device_train_batch_size=8",
        "--set", "training.learning_rate=1e-3", *more,
    ]  # fmt: skip


def steps_of(out: Path) -> list[dict[str, Any]]:
    lines = (out / "metrics.jsonl").read_text("utf-8").splitlines()
    return [step for step in map(json.loads, lines) if "loss" in step]


def test_degrees_are_learnt_beside_preferences(
    home: Path, telling: Path, tmp_path: Path, prefine: Call, undrawn: None
) -> None:
    out = tmp_path / "run"
    more = ("--set", "training.num_train_epochs=12", "--set", "degrees.learning_rate=0.1")
    code, text, err = prefine(*words(home, telling, "spo", out, "--json", *more))
    assert code == 0, err
    summary = json.loads(text)
    assert (
        "q = p] (preference) + [-0.1 mean over responses of log softmax(vector)"
        in summary["formula"]
    )
    assert any("responses: 4" in note or "responses: 3" in note for note in summary["notes"])
    assert any("fewer than 3 key words: they teach the preference" in n for n in summary["notes"])
    assert "reward_accuracy" in summary["metrics"]
    steps = steps_of(out)
    assert steps[0]["degrees/loss"] == pytest.approx(0.1 * 1.386294, abs=1e-6)  # log 4, by 0.1
    assert steps[0]["preference/loss"] == pytest.approx(0.693147, abs=1e-5)
    both = steps[0]["degrees/loss"] + steps[0]["preference/loss"]
    assert steps[0]["loss"] == pytest.approx(both)
    last = steps[-12:]
    assert sum(s["degrees/loss"] for s in last) / 12 < 0.8 * steps[0]["degrees/loss"]
    assert sum(s["degrees/accuracy"] for s in last) / 12 > 0.4
    lines = (out / "metrics.jsonl").read_text("utf-8")
    assert '"eval_degrees/accuracy"' in lines
    kept = load_file(out / "model" / "model.safetensors").keys()
    assert kept == load_file(home / "model" / "model.safetensors").keys()
    code, text, _ = prefine("diagnose", out, "--json")
    assert code in (0, 1)


def test_a_dry_run_shows_versions_and_counts_them(
    home: Path, telling: Path, tmp_path: Path, prefine: Call
) -> None:
    code, text, err = prefine(*words(home, telling, "spo", tmp_path / "a", "--dry-run", "--json"))
    assert code == 0, err
    assert "damaged_rejected: " in err
    assert "q = p] (preference) + [-0.1 mean over responses" in json.loads(text)["formula"]
    plain = prefine(*words(home, telling, "dpo", tmp_path / "b", "--dry-run", "--json"))
    tokens, fewer = (json.loads(said)["estimate"]["tokens"] for said in (text, plain[1]))
    assert tokens > 1.3 * fewer, "what is computed beside the pairs is estimated, too"


def test_the_preset_is_listed(prefine: Call) -> None:
    code, text, _ = prefine("train", "spo", "--list")
    assert code == 0
    assert "degrees.steps=3" in text
    assert "The objective is dpo" in text
    assert "spo" in prefine("train", "--list")[1]


@pytest.mark.parametrize("objective", ["kto", "reward", "sft", "mapl"])
def test_objectives_without_pairs_of_a_policy_are_refused(
    objective: str, home: Path, telling: Path, tmp_path: Path, prefine: Call
) -> None:
    more = ("--set", "degrees.weight=0.1")
    code, _, err = prefine(*words(home, telling, objective, tmp_path / "run", *more))
    assert code == 2
    assert "Choose a pair objective of policies" in err


def test_data_without_key_words_says_what_to_do(home: Path, tmp_path: Path, prefine: Call) -> None:
    code, _, err = prefine(*words(home, home / "pairs.jsonl", "spo", tmp_path / "run"))
    assert code == 1
    assert "no response can be damaged step by step" in err
