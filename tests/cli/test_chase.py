"""`prefine train ofs_dpo`: two sets of adapters, one of them kept, and several runs combined."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def domains(home: Path, tmp_path: Path) -> list[Path]:
    """The pairs of `home`, half in each of two files."""
    lines = (home / "pairs.jsonl").read_text(encoding="utf-8").splitlines()
    paths = [tmp_path / "first.jsonl", tmp_path / "second.jsonl"]
    for n, path in enumerate(paths):
        path.write_text("\n".join(lines[n::2]), encoding="utf-8")
    return paths


def words(home: Path, data: Path, out: Path, *more: str) -> list[str]:
    return [
        "train", "ofs_dpo", "--model", str(home / "model"), "--data", str(data),
        "--out", str(out), "--set", "training.use_cpu=true", "--set", "holdout=0.3",
        "--set", "training.learning_rate=1e-2", "--set", "training.max_steps=4",
        "--set", "lora.r=2", "--set", "chase.every=2", *more,
    ]  # fmt: skip


def test_two_domains_are_learnt_and_combined(
    home: Path, domains: list[Path], tmp_path: Path, prefine: Call, undrawn: None
) -> None:
    for data in domains:
        code, text, err = prefine(*words(home, data, tmp_path / data.stem, "--json"))
        assert code == 0, err
        summary = json.loads(text)
        assert summary["formula"].endswith("(slow)")
        assert summary["chase"]["fast"] in (0, 1)
        assert any(note.startswith("two sets of adapters learn") for note in summary["notes"])
        assert "reward_accuracy" in summary["metrics"]
        lines = (tmp_path / data.stem / "metrics.jsonl").read_text("utf-8").splitlines()
        steps = [row for row in map(json.loads, lines) if "loss" in row]
        assert [row["chase/slow_loss"] for row in steps[:1]] == pytest.approx([0.6931], abs=1e-3)
        assert [row["step"] for row in steps] == [1, 2, 3, 4]
    runs = [str(tmp_path / data.stem) for data in domains]
    code, _, err = prefine("diagnose", runs[0], "--json")
    assert code in (0, 1), err
    combined = ["combine", *runs, "--data", str(home / "pairs.jsonl"), "--out"]
    code, text, err = prefine(*combined, str(tmp_path / "both"), "--parts", "4", "--json")
    assert code == 0, err
    assert sum(json.loads(text)["shares"]) == pytest.approx(1.0)
    assert (tmp_path / "both" / "adapter_model.safetensors").is_file()


def test_the_preset_is_shown_and_checked(home: Path, tmp_path: Path, prefine: Call) -> None:
    code, text, _ = prefine("train", "ofs_dpo", "--list")
    assert code == 0
    assert "chase.every=20" in text
    assert "lora.r=16" in text
    run = words(home, home / "pairs.jsonl", tmp_path / "run", "--dry-run", "--json")
    code, text, err = prefine(*run)
    assert code == 0, err
    assert "(fast);" in json.loads(text)["formula"]


def test_full_fine_tuning_is_refused(home: Path, tmp_path: Path, prefine: Call) -> None:
    code, _, err = prefine(
        "train", "dpo", "--model", home / "model", "--data", home / "pairs.jsonl",
        "--out", tmp_path / "run", "--set", "chase.every=2",
    )  # fmt: skip
    assert code == 2
    assert "Add `lora` (--lora" in err
