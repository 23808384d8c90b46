"""The tutorials do what they say: their blocks run in order, each page in an empty folder."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.docs.blocks import DOCS, Reader, to_run

TUTORIALS = DOCS / "tutorials"


def metrics(run: Path) -> dict[str, Any]:
    return json.loads((run / "summary.json").read_text(encoding="utf-8"))["metrics"]


@pytest.mark.parametrize("apart", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_first_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, apart: bool):
    page = TUTORIALS / "first-run.md"
    assert len(to_run(page)) >= 8
    Reader(tmp_path, monkeypatch, apart=apart).read(page)
    for run in ("sft", "reward", "dpo"):
        assert (tmp_path / "out" / run / "report.html").stat().st_size > 10_000
        assert (tmp_path / "out" / run / "model" / "model.safetensors").exists()
    assert not (tmp_path / "out" / "simpo").exists(), "--dry-run leaves nothing behind"
    accuracy = metrics(tmp_path / "out" / "reward")["accuracy"]
    assert accuracy["low"] > 0.5, "the reward model learns what the annotators like"


@pytest.mark.slow
def test_rankings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    Reader(tmp_path, monkeypatch).read(TUTORIALS / "rankings.md")
    first = json.loads((tmp_path / "out/lists/metrics.jsonl").read_text().splitlines()[0])
    assert first["loss"] == pytest.approx(3.178, abs=1e-3), "log 4!, as the page says"
    assert metrics(tmp_path / "out" / "lists")["best_is_first"]["low"] > 0.25
    assert metrics(tmp_path / "out" / "pairs")["reward_accuracy"]["low"] > 0.5


def test_noisy_votes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    reader = Reader(tmp_path, monkeypatch)
    reader.read(TUTORIALS / "noisy-votes.md")
    assert "majority wrong: 0.114; a vote wrong: 0.233" in capsys.readouterr().out
    for run in ("majority", "corrected", "estimated"):
        assert metrics(tmp_path / "out" / run)["reward_accuracy"]["low"] > 0.5
    trust = reader.names["trust"]
    assert min(trust, key=trust.__getitem__) == "cleo", "the careless rater is believed the least"
    assert (tmp_path / "compare.html").stat().st_size > 10_000


@pytest.mark.slow
def test_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("diffusers")
    monkeypatch.setenv("PREFINE_CACHE", str(tmp_path / "cache"))
    Reader(tmp_path, monkeypatch).read(TUTORIALS / "pictures.md")
    assert metrics(tmp_path / "out" / "dpo")["reward_accuracy"]["low"] > 0.5
    page = (tmp_path / "out" / "dpo" / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") >= 8, "four captions, before and after"


def test_own_objective_of_the_page_is_its_formula(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The page's loss can be named, takes options, and says what it consumes."""
    from prefine.objectives import registry
    from prefine.objectives.declare import spec
    from prefine.scores import Scores

    text = next(
        t for language, t in to_run(DOCS / "how-to/own-objective.md") if language == "python"
    )
    (tmp_path / "my_losses.py").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    loss = registry.build("my_losses:capped", {"margin": 2.0})
    assert spec(loss).formula == "max(0, 2 - 0.1 (h_w - h_l))"
    pair = Scores(
        torch.tensor([[1.0, -3.0]]), torch.ones(1, 2), reference=torch.tensor([[0.0, 0.0]])
    )
    torch.testing.assert_close(loss(pair), torch.tensor([2.0 - 0.4]))
