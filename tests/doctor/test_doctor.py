"""`prefine doctor`: what is broken is said and exits with 1; nothing makes it crash."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from typer.testing import CliRunner

from prefine.cli.main import app
from prefine.doctor import Check, examine, failed, libraries
from prefine.doctor import examine as examine_package
from prefine.errors import PrefineError

GROUPS = {"python", "libraries", "extras", "devices", "settings", "disk"}

DECLARED = ["torch<3,>=2.8", "numpy>=2", "odd-os>=1; sys_platform == 'nowhere'",
            "zstandard>=0.22; extra == 'zstd'", "no-such-thing>=1; extra == 'serve'"]  # fmt: skip


@pytest.fixture(autouse=True)
def untuned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings of the process would stay for the tests that follow in it."""
    monkeypatch.setattr("prefine.engine.tune.tune", lambda: ["tuned"])


@pytest.fixture
def declared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requirements of our own making, whatever version of prefine is installed here."""
    told = {"Requires-Dist": DECLARED, "Provides-Extra": ["zstd", "serve"],
            "Requires-Python": [">=3.11"]}  # fmt: skip
    monkeypatch.setattr(libraries, "_metadata", lambda key: told[key])


def by_name(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks}


def test_it_looks_at_everything() -> None:
    done = CliRunner().invoke(app, ["doctor", "--json"])
    found = json.loads(done.stdout)
    assert {check["group"] for check in found["checks"]} == GROUPS
    assert done.exit_code == int(found["broken"])
    names = {check["name"] for check in found["checks"]}
    assert {"torch", "transformers", "zstd", "cpu", "cuda", "mps", "oneDNN", "cache"} <= names
    settings = [check["says"] for check in found["checks"] if check["group"] == "settings"]
    assert settings[0] == "tuned"
    for check in found["checks"]:
        assert check["says"]
        assert check["state"] in ("ok", "note") or check["do"], check


def test_people_see_groups_and_what_to_do(declared: None) -> None:
    shown = CliRunner().invoke(app, ["doctor"]).stdout
    for line in ("libraries", "extras", "pip install 'prefine[serve]'", "prefine serve reward"):
        assert line in shown


def test_what_is_missing_is_not_broken(declared: None) -> None:
    found = by_name(list(libraries.about_extras()))
    assert found["serve"].state == "missing"
    assert found["serve"].do == "pip install 'prefine[serve]'"
    assert found["zstd"].state == "ok"
    assert not failed(found.values())


def test_requirements_of_other_systems_are_left_out(declared: None) -> None:
    assert [name for name, _, extra in libraries.requirements() if extra is None] == [
        "torch",
        "numpy",
    ]


@pytest.mark.parametrize(
    ("version", "says"),
    [("2.7.1", "2.7.1; needed"), ("3.0", "3.0; needed"), (None, "not installed")],
)
def test_a_library_out_of_range_is_broken(
    declared: None, monkeypatch: pytest.MonkeyPatch, version: str | None, says: str
) -> None:
    def of(name: str) -> str:
        if version is None:
            raise libraries.PackageNotFoundError(name)
        return version if name == "torch" else "2.4"

    monkeypatch.setattr(libraries, "version", of)
    torch = by_name(list(libraries.about_libraries()))["torch"]
    assert torch.state == "broken"
    assert says in torch.says
    assert torch.do.startswith("pip install 'torch")


def test_an_old_python_is_broken(monkeypatch: pytest.MonkeyPatch, declared: None) -> None:
    monkeypatch.setattr(libraries.platform, "python_version", lambda: "3.10.2")
    assert by_name(list(libraries.about_python()))["python"].state == "broken"


def test_a_group_that_fails_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def explodes() -> Iterator[Check]:
        raise PrefineError("no such thing")

    monkeypatch.setitem(sys.modules[examine_package.__module__].GROUPS, "disk", explodes)
    (disk,) = [check for check in examine() if check.group == "disk"]
    assert disk.state == "broken"
    assert "PrefineError: no such thing" in disk.says


@pytest.mark.parametrize(
    "broken",
    ["sys.modules['torch'] = None", "sys.meta_path.insert(0, Explodes())"],
    ids=["absent", "torn"],
)
def test_without_torch_it_still_answers(broken: str) -> None:
    code = f"""
import sys
class Explodes:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            raise OSError("libtorch_cpu.so: cannot open shared object file")
{broken}
from prefine.cli.main import main
sys.argv = ["prefine", "doctor", "--json"]
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["broken"] is True
    said = {(check["group"], check["name"]): check for check in found["checks"]}
    assert said["devices", "devices"]["state"] == "broken"
    assert "torch" in said["devices", "devices"]["says"]
    assert said["disk", "working folder"]["state"] != "broken"
    assert ("python", "python") in said
