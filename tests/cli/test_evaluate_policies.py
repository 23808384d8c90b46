"""Checkpoints in their own words, and records sorted by a reward, from the command line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from prefine.models import load_policy, load_reward_model, load_tokenizer
from prefine.records import load

Call = Callable[..., tuple[int, str, str]]

FUNCTIONS = """
def longer(prompts, completions):
    return [float(len(text)) for text in completions]

def stance(prompts, completions):
    return [{"odd": len(text) % 2, "even": 1 - len(text) % 2} for text in completions]

def number(prompts, completions):
    return [1.0 for _ in completions]
"""


@pytest.fixture(scope="module")
def models(home: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Four models that stand further and further from the start."""
    folder = tmp_path_factory.mktemp("checkpoints")
    (folder / "judges.py").write_text(FUNCTIONS, encoding="utf-8")
    tokenizer = load_tokenizer(str(home / "model"))
    found: list[Path] = []
    for n in range(1, 5):
        model = load_policy(str(home / "model"))
        torch.manual_seed(0)
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(0.03 * n * torch.randn_like(weight))
        found.append(folder / str(n))
        model.save_pretrained(found[-1])
        tokenizer.save_pretrained(found[-1])
    return found


def ask(models: list[Path], home: Path, *more: object) -> tuple[object, ...]:
    return (
        *models, "--data", home / "pairs.jsonl", "--samples", 12, "--max-new-tokens", 6, *more,
    )  # fmt: skip


def test_overoptimisation(
    models: list[Path], home: Path, prefine: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(models[0].parent)
    given = ask(models, home, "--reference", home / "model", "--reward", "judges:longer")
    code, out, err = prefine("evaluate", "overoptimisation", *given, "--json")
    assert code == 0, err
    report = json.loads(out)
    assert list(report["models"]) == [str(folder) for folder in models]
    distances = [report["models"][str(folder)]["kl"]["value"] for folder in models]
    assert distances[-1] > distances[0]
    assert report["law"] or "three distances" in report["no_law"] or "draws" in report["no_law"]
    assert prefine("evaluate", "overoptimisation", *given)[1].count("gain") >= 4


def test_a_policy_that_did_not_move_has_no_law(
    home: Path, models: list[Path], prefine: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(models[0].parent)
    given = ask([home / "model"], home, "--reference", home / "model", "--reward", "judges:longer")
    code, out, _ = prefine("evaluate", "overoptimisation", *given, "--json")
    report = json.loads(out)
    assert code == 0
    assert report["law"] == {}
    assert "three distances" in report["no_law"]
    (point,) = report["models"].values()
    assert (point["kl"]["value"], point["gain"]["value"]) == (0.0, 0.0)


def test_drift(
    models: list[Path], home: Path, prefine: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(models[0].parent)
    given = ask(models, home, "--judge", "judges:stance")
    code, out, err = prefine("evaluate", "drift", *given, "--json")
    assert code == 0, err
    report = json.loads(out)
    first = report["models"][str(models[0])]
    assert first["distance"] == 0.0
    assert sum(first["stances"].values()) == pytest.approx(1.0)
    assert report["moved"] is (
        max(m["distance"] for m in report["models"].values()) > report["null"]
    )
    assert "two samples of one model differ" in prefine("evaluate", "drift", *given)[1]


@pytest.mark.parametrize(
    ("judge", "why"),
    [
        ("judges:number", "number 0 is 1.0"),
        ("judges:missing", "has no attribute"),
        ("nowhere:f", "No module named"),
        ("judges", "module:function"),
    ],
)
def test_judges_that_do_not_fit(
    judge: str, why: str, models: list[Path], home: Path, prefine: Call,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(models[0].parent)
    code, _, err = prefine("evaluate", "drift", *ask(models, home, "--judge", judge))
    assert code != 0
    assert why in err


def test_selection_sorts_every_record(home: Path, tmp_path: Path, prefine: Call) -> None:
    torch.manual_seed(0)
    tokenizer = load_tokenizer(str(home / "model"))
    load_reward_model(str(home / "model"), tokenizer=tokenizer).save_pretrained(tmp_path / "rm")
    tokenizer.save_pretrained(tmp_path / "rm")
    words = ("evaluate", "selection", tmp_path / "rm", home / "pairs.jsonl", "--out", tmp_path)
    code, out, err = prefine(*words, "--json")
    assert code == 0, err
    report: dict[str, Any] = json.loads(out)
    parts = {
        name: load(str(tmp_path / f"{name}.jsonl"))
        for name in ("easy", "hard", "contradicted")
        if report[name]
    }
    assert sum(len(part) for part in parts.values()) == 39
    assert sum(report[name] for name in ("easy", "hard", "contradicted")) == 39
    assert report["threshold"] > 0
    ids = [record.id for part in parts.values() for record in part]
    assert len(ids) == len(set(ids))
    none = prefine(*words, "--threshold", 1e9, "--json")[1]
    assert json.loads(none)["hard"] == 39
