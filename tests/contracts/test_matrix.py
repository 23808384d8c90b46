"""The matrix of installations is the one that pyproject.toml promises, and it never flatters."""

import json
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from tests.matrix import run

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_the_oldest_versions_are_the_lower_bounds() -> None:
    bounds = {
        wanted.name: next(one.version for one in wanted.specifier if one.operator == ">=")
        for wanted in map(Requirement, PROJECT["dependencies"])
    }
    oldest = run.declared()["versions"]["oldest"]
    assert oldest == {name: bounds[name] for name in oldest}
    assert {"transformers", "accelerate", "peft", "datasets"} <= oldest.keys()


def test_every_promised_python_is_in_it() -> None:
    start = "Programming Language :: Python :: "
    told = [c.removeprefix(start) for c in PROJECT["classifiers"] if c.startswith(start)]
    assert run.declared()["pythons"] == told
    assert all(version in SpecifierSet(PROJECT["requires-python"]) for version in told)


def test_an_absent_python_is_not_passed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert run.find_python("3.99") is None
    monkeypatch.setattr(run, "find_python", lambda wanted: None if wanted == "3.12" else "python")
    monkeypatch.setattr(run, "run_cell", lambda *_: {"status": "failed", "why": "planted"})

    monkeypatch.setattr(run, "build", lambda folder: folder / "prefine.whl")
    out = tmp_path / "matrix.json"
    monkeypatch.setattr(sys, "argv", ["run", "--python", "3.11", "3.12", "--out", str(out)])
    with pytest.raises(SystemExit) as stopped:
        run.main()
    assert stopped.value.code == 1
    cells = json.loads(out.read_text(encoding="utf-8"))["cells"]
    found = {(cell["python"], cell["status"]) for cell in cells}
    assert found == {("3.11", "failed"), ("3.12", "absent"), ("3.13", "not run")}


def test_a_cell_that_was_not_asked_for_keeps_what_was_found(tmp_path: Path) -> None:
    out, matrix = tmp_path / "matrix.json", run.declared()
    cells = run.earlier(out, matrix)
    assert {cell["status"] for cell in cells.values()} == {"not run"}
    cells["3.11", "oldest"] = {"status": "passed", "date": "2026-01-01"}
    run.write(out, {**cells, ("3.9", "oldest"): {"status": "passed"}})
    again = run.earlier(out, matrix)
    assert again["3.11", "oldest"] == {"status": "passed", "date": "2026-01-01"}
    assert again["3.12", "oldest"] == {"status": "not run"}
    assert ("3.9", "oldest") not in again, "what is no longer promised is no longer told"


def test_a_failing_step_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = run.run_cell(str(tmp_path / "no-such-python"), {}, tmp_path / "prefine.whl")
    assert found["status"] == "failed"
    assert found["why"].startswith("environment: ")


def test_results_claim_no_more_than_was_run() -> None:
    path = ROOT / "docs" / "results" / "matrix.json"
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    matrix = run.declared()
    wanted = [(p, v) for p in matrix["pythons"] for v in matrix["versions"]]
    assert [(cell["python"], cell["versions"]) for cell in cells] == wanted
    for cell in cells:
        assert cell["status"] in ("passed", "failed", "absent", "not run")
        if cell["status"] == "passed":
            for name, version in matrix["versions"][cell["versions"]].items():
                assert cell["installed"][name].startswith(f"{version}."), cell
