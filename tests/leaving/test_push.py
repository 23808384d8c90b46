"""Uploading: only what was shown, only after a yes, and never to where it must not be seen."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from prefine.cli.main import app
from prefine.errors import ConfigError, PushError
from prefine.models.push import prepare_upload, push

Run = Callable[..., Path]


class FakeApi:
    """Notes what is asked of it; `public` says what an existing repository is."""

    def __init__(self, *, public: bool = False, refuses: Exception | None = None) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.public, self.refuses = public, refuses

    def create_repo(self, name: str, **options: Any) -> None:
        self.calls.append(("create", {"name": name, **options}))
        if self.refuses:
            raise self.refuses

    def model_info(self, name: str) -> Any:
        return SimpleNamespace(private=not self.public)

    def upload_folder(self, **options: Any) -> Any:
        self.calls.append(("upload", options))
        return SimpleNamespace(commit_url="https://hub/org/tiny/commit/1")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> FakeApi:
    api = FakeApi()
    monkeypatch.setattr("huggingface_hub.HfApi", lambda: api)
    return api


@pytest.fixture
def run(finished: Run) -> str:
    return str(finished("dpo", template="chatml"))


def test_everything_is_said_before_anything_is_sent(run: str, hub: FakeApi) -> None:
    done = CliRunner().invoke(app, ["push", run, "org/tiny", "--private"], input="n\n")
    assert done.exit_code == 1
    assert hub.calls == []
    assert "policy" in done.stdout
    assert "to  org/tiny, seen by its owners alone" in done.stdout
    for path in (Path(run) / "model").iterdir():
        assert f"{path.stat().st_size:,} bytes  {path.name}" in done.stdout
    assert "seen by everybody" in CliRunner().invoke(app, ["push", run, "org/tiny"]).stdout
    assert hub.calls == [], "an empty answer is no yes"


@pytest.mark.parametrize(("words", "typed"), [(["--yes"], ""), ([], "y\n")])
def test_a_yes_uploads_what_was_shown(run: str, hub: FakeApi, words: list[str], typed: str) -> None:
    done = CliRunner().invoke(app, ["push", run, "org/tiny", *words], input=typed)
    assert done.exit_code == 0, done.output
    assert "uploaded  https://hub/org/tiny/commit/1" in done.stdout
    (made, create), (sent, upload) = hub.calls
    assert (made, sent) == ("create", "upload")
    assert create == {"name": "org/tiny", "repo_type": "model", "private": False, "exist_ok": True}
    folder = Path(run) / "model"
    assert upload["folder_path"] == str(folder)
    assert upload["allow_patterns"] == sorted(path.name for path in folder.iterdir())


def test_a_public_repository_is_not_private(run: str) -> None:
    api = FakeApi(public=True)
    with pytest.raises(PushError, match="exists and is public"):
        push(prepare_upload(run, "org/tiny", private=True), api)
    assert [name for name, _ in api.calls] == ["create"]


def test_a_refusal_of_the_hub_is_said_in_words(
    run: str, hub: FakeApi, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from prefine.cli.main import main

    hub.refuses = OSError("401 Unauthorized")
    monkeypatch.setattr(sys, "argv", ["prefine", "push", run, "org/tiny", "--yes"])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 1
    assert "the Hub refused the upload. 401 Unauthorized" in capsys.readouterr().err


def test_what_should_not_leave_is_refused(finished: Run, run: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Write owner/name"):
        prepare_upload(run, "tiny")
    with pytest.raises(ConfigError, match="a folder of this machine"):
        prepare_upload(str(finished("dpo", lora={"r": 2})), "org/tiny")
    folder = tmp_path / "model"
    shutil.copytree(Path(run) / "model", folder)
    (folder / "notes").mkdir()
    with pytest.raises(ConfigError, match="holds folders"):
        prepare_upload(str(folder), "org/tiny")
    (folder / "notes").rmdir()
    (folder / "optimizer.pt").touch()
    with pytest.raises(ConfigError, match="may run code"):
        prepare_upload(str(folder), "org/tiny")
    (folder / "optimizer.pt").unlink()
    (folder / "README.md").unlink()
    assert "there is no README.md" in prepare_upload(str(folder), "org/tiny").notes[0]


def test_nothing_else_in_prefine_uploads() -> None:
    """`create_repo`, `upload_*` and `push_to_hub` are called in one file."""
    source = Path(__file__).resolve().parents[2] / "src" / "prefine"
    calls = ("create_repo(", "upload_folder(", "upload_file(", "push_to_hub(", "create_commit(")
    found = {
        str(path.relative_to(source))
        for path in source.rglob("*.py")
        if any(call in path.read_text(encoding="utf-8") for call in calls)
    }
    assert found == {"models/push.py"}
