"""`prefine ledger`: what it lists, how it runs, and what it refuses."""

import json
from pathlib import Path
from typing import Any

import pytest

from prefine.cli.main import main
from prefine.ledger.catalogue import entries


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any) -> Any:
    """Return a call of `prefine ledger` that gives its exit code, output and errors."""
    monkeypatch.setenv("PREFINE_CACHE", str(tmp_path / "cache"))

    def call(*words: str) -> tuple[Any, str, str]:
        monkeypatch.setattr("sys.argv", ["prefine", "ledger", *words])
        with pytest.raises(SystemExit) as done:
            main()
        said = capsys.readouterr()
        return done.value.code, said.out, said.err

    return call


def test_the_list_has_every_entry_as_json(ledger: Any) -> None:
    code, out, _ = ledger("list", "--json")
    assert code == 0
    listed = {one["name"]: one for one in json.loads(out)}
    assert listed.keys() == entries().keys()
    assert listed["robust_em"]["numbers"] == ["#68"]
    assert listed["dpo"]["status"] == "reproduced"
    assert listed["dpo"]["figures"]["distance"]["n"] == 10


def test_a_run_tells_what_it_found(ledger: Any) -> None:
    code, out, _ = ledger("run", "dpo", "--seeds", "3")
    assert code == 0
    assert "dpo  reproduced" in out
    assert "holds, control fails" in out
    code, out, _ = ledger("run", "dpo", "--seeds", "3", "--json")
    (found,) = json.loads(out)
    assert (code, found["status"], len(found["runs"])) == (0, "reproduced", 3)


def test_a_run_that_comes_out_worse_fails(ledger: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prefine.ledger.outcome.Outcome.status", "partly")
    kept = {name: None for name in entries()}
    monkeypatch.setattr("prefine.ledger.catalogue.outcomes", lambda: kept)
    code, _, err = ledger("run", "dpo", "--seeds", "2")
    assert code == 1
    assert "worse than expected: dpo" in err


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("run",), "Name the entries to run, or give --all"),
        (("run", "dpo", "--all"), "Name the entries to run, or give --all"),
        (("run", "dpoo"), "Did you mean `dpo`"),
        (("run", "dpo", "--record", "--seeds", "3"), "keeps the declared seeds"),
    ],
)
def test_misuse_is_told(ledger: Any, words: tuple[str, ...], why: str) -> None:
    code, _, err = ledger(*words)
    assert code == 2
    assert why in err


def test_the_table_is_written(ledger: Any, tmp_path: Path) -> None:
    code, out, _ = ledger("table", "--out", str(tmp_path))
    assert code == 0
    assert str(tmp_path / "ledger.md") in out
    page = (tmp_path / "ledger.md").read_text(encoding="utf-8")
    assert all(f"(ledger-{name})=" in page for name in entries())
