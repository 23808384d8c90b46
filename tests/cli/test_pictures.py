"""`prefine generate`, `data encode` and the list of presets."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from prefine.cli.main import app
from prefine.errors import ConfigError
from prefine.ledger.worlds import sprites
from prefine.models.pictures import PictureModel
from prefine.records import load

pytest.importorskip("diffusers")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model")
    PictureModel(sprites.untrained(0)).save(folder)
    return str(folder)


def prefine(*words: str) -> Any:
    return CliRunner().invoke(app, words)


def test_pictures_are_drawn_and_recorded(model: str, tmp_path: Path) -> None:
    (tmp_path / "captions.txt").write_text("a red disk\n\na blue cross\n", encoding="utf-8")
    out = tmp_path / "drawn"
    done = prefine(
        "generate", model, "--prompts", str(tmp_path / "captions.txt"), "-n", "2", "--steps", "2",
        "--out", str(out), "--batch-size", "3", "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.exception
    assert json.loads(done.stdout)["pictures"] == 4
    records = load(out / "records.jsonl")
    assert [record.context[0].text for record in records] == ["a red disk", "a blue cross"]
    for record in records:
        for candidate in record.candidates:
            (part,) = candidate.messages[0].content
            assert (out / part.uri).is_file()
            assert candidate.origin.sampling["seed"] in (0, 1)
    again = prefine("generate", model, "--prompt", "a red disk", "--out", str(out))
    assert "is not empty" in str(again.exception)
    assert isinstance(prefine("generate", model, "--out", str(out)).exception, ConfigError)


def test_what_was_drawn_can_be_encoded(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFINE_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "drawn"
    prefine("generate", model, "--prompt", "a red disk", "--steps", "1", "--out", str(out))
    done = prefine("data", "encode", str(out / "records.jsonl"), "--model", model, "--json")
    assert done.exit_code == 0, done.exception
    said = json.loads(done.stdout)
    assert said == {
        "records": 1, "encoded": "1 captions and 1 pictures encoded once", "set_aside": {},
    }  # fmt: skip
    calls: list[Any] = []
    monkeypatch.setattr(PictureModel, "latents", lambda *a: calls.append(a))
    again = prefine("data", "encode", str(out / "records.jsonl"), "--model", model, "--json")
    assert json.loads(again.stdout)["records"] == 1
    assert not calls, "found where the first call left them"


def test_presets_are_listed_and_shown() -> None:
    assert "diffusion_dpo" in prefine("train", "--list").stdout
    shown = prefine("train", "diffusion-dpo", "--list").stdout
    assert "options.beta=5000.0" in shown
    assert "The objective is dpo" in shown
    assert json.loads(prefine("train", "flow_dpo", "--list", "--json").stdout)["objective"] == "dpo"


def test_captions_may_be_those_of_records(model: str, tmp_path: Path) -> None:
    first = tmp_path / "first"
    prefine("generate", model, "--prompt", "a red disk", "--steps", "1", "--out", str(first))
    words = ("generate", model, "--prompts", str(first / "records.jsonl"), "--steps", "1")
    done = prefine(*words, "--out", str(tmp_path / "again"))
    assert done.exit_code == 0, done.exception
    assert load(tmp_path / "again" / "records.jsonl")[0].context[0].text == "a red disk"
    shown = tmp_path / "shown.jsonl"
    parts = [{"type": "text", "text": "like"}, {"type": "image", "uri": "first/00000-00.png"}]
    row = {"schema": "prefine/1", "id": "r", "source": {"name": "s"}, "judgments": [],
           "context": [{"role": "user", "content": parts}], "candidates": []}  # fmt: skip
    shown.write_text(json.dumps(row), encoding="utf-8")
    words = ("generate", model, "--prompts", str(shown), "--out", str(tmp_path / "shown"))
    assert "holds more than text" in str(prefine(*words).exception)


@pytest.mark.parametrize("option", [("--temperature", "1"), ("--beams", "2"), ("--resume",)])
def test_what_only_text_has_is_refused(option: tuple[str, ...], model: str, tmp_path: Path) -> None:
    done = prefine("generate", model, "--prompt", "a", "--out", str(tmp_path / "out"), *option)
    assert isinstance(done.exception, ConfigError)
    assert f"{option[0]}: {model} draws pictures" in str(done.exception)
