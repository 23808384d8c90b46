"""`prefine data`: what it prints, what it writes, how it ends."""

import json
import logging

import pytest
from typer.testing import CliRunner

from prefine.cli.data import app
from prefine.errors import ConfigError, TooManyRejects
from prefine.records import Candidate, Judgment, Message, Rater, Record, Records, load

ROWS = [{"prompt": f"{n}?", "chosen": f"yes {n}", "rejected": "no"} for n in range(40)]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Return `run(*arguments)` in an empty working directory, which must end without an error."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "100")

    def invoke(*arguments, fails=None):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if fails is None:
            assert result.exception is None, result.output
            assert result.exit_code == 0
        else:
            assert isinstance(result.exception, fails)
        return result

    return invoke


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def test_inspect_json(run, data):
    summary = json.loads(run("inspect", data, "--json").stdout)
    assert summary["format"] == "trl_preference"
    assert (summary["records"], summary["candidates"], summary["judgments"]) == (40, 80, 40)
    assert (summary["rejects"], summary["ties"], summary["longer_chosen"]) == (0, 0, 1.0)
    assert summary["fingerprint"] == load(data).fingerprint


def test_inspect_counts_licences(run, data):
    assert json.loads(run("inspect", data, "--json").stdout)["licences"] == {"not stated": 40}
    shown = run("inspect", data, "--license", "cc-by-4.0").stdout
    assert "licences" in shown
    assert "cc-by-4.0 40" in shown
    run("convert", data, "own.jsonl", "--license", "mit")
    assert load("own.jsonl").licences == {"mit": 40}


def test_inspect_shows_three_records(run, data):
    shown = run("inspect", data).stdout
    assert "trl_preference" in shown
    assert shown.count("record ") == 3
    assert "user: 2?" in shown
    assert "-> c0: yes 2" in shown
    assert "unknown, overall: c0 wins" in shown
    assert "3?" not in shown


def test_inspect_shows_every_kind_of_judgment(run, tmp_path):
    ann, kim, both = Rater("ann", "human"), Rater("kim", "user"), ("c0", "c1")
    judged = (
        Judgment("p", "pair", both, ann, winner="tie"),
        Judgment("r", "rate", both, ann, scores={"c0": 2, "c1": 5}, scale=(1, 5)),
        Judgment("k", "rank", both, ann, ranks={"c0": 2, "c1": 1}),
        Judgment("e", "edit", (), kim, edit_from="c0", edit_to="c1"),
        Judgment("s", "signal", (), kim, target="c0", polarity=-1),
        Judgment("q", "pair", both, ann, winner="c1"),
    )
    candidates = tuple(
        Candidate(name, (Message("assistant", text),))
        for name, text in (("c0", "[bold]x[/bold]"), ("c1", "y" * 500))
    )
    unreadable = Judgment("i", "pair", both, kim, valid=False)
    records = [
        Record(context=(), candidates=candidates, judgments=said)
        for said in (judged, (unreadable,))
    ]
    Records.of(records).save(tmp_path / "a.parquet")
    shown = run("inspect", tmp_path / "a.parquet").stdout
    for expected in (
        "[bold]x[/bold]",
        "[... 500 characters]",
        "ann, overall: tie",
        "rate {'c0': 2, 'c1': 5}",
        "rank {'c0': 2, 'c1': 1}",
        "kim, overall: c0 edited to c1",
        "kim, overall: signal -1",
        "and 1 more judgments",
        "kim, overall: unreadable",
    ):
        assert expected in shown


def test_inspect_stops_beyond_max_rejects(run, data, tmp_path, caplog):
    data.write_text(data.read_text() + "{\n")
    error = run("inspect", data, "--json", fails=TooManyRejects).exception
    assert "1 of 41 rows could not be read" in str(error)
    with caplog.at_level(logging.WARNING, "prefine"):
        options = ("--max-rejects", "0.05", "--rejects", tmp_path / "r.jsonl")
        summary = json.loads(run("inspect", data, "--json", *options).stdout)
    assert (summary["records"], summary["rejects"]) == (40, 1)
    assert (tmp_path / "r.jsonl").exists()
    assert "1 of 41 rows" in caplog.text


def test_misuse(run, data):
    assert run("inspect", data, "--max-rejects", "7", fails=SystemExit).exit_code == 2
    assert run("inspect", fails=SystemExit).exit_code == 2
    run("inspect", data, "--format", "trl_prefs", fails=ConfigError)
    run("split", data, "out", "--sizes", "train", fails=ConfigError)


@pytest.mark.parametrize(
    ("out", "options", "written"),
    [
        ("a.jsonl", [], "a.jsonl"),
        ("a.parquet", [], "a.parquet"),
        ("a.jsonl.gz", ["--to", "jsonl"], "a.jsonl.gz"),
        ("a", ["--to", "parquet"], "a.parquet"),
    ],
)
def test_convert(run, data, tmp_path, out, options, written):
    said = run("convert", data, tmp_path / out, *options).stdout
    assert said == f"40 records -> {tmp_path / written}\n"
    assert load(tmp_path / written).fingerprint == load(data).fingerprint


def test_split(run, data, tmp_path):
    options = ("--sizes", "train=0.6, test=0.4", "--seed", "3")
    said = run("split", data, tmp_path / "parts", *options).stdout
    parts = {name: load(tmp_path / "parts" / f"{name}.jsonl") for name in ("train", "test")}
    assert sum(len(part) for part in parts.values()) == 40
    assert f"{len(parts['test'])} records -> {tmp_path / 'parts' / 'test.jsonl'}" in said
    whole = load(data).split(sizes={"train": 0.6, "test": 0.4}, seed=3)
    assert {n: p.fingerprint for n, p in whole.items()} == {
        n: p.fingerprint for n, p in parts.items()
    }


@pytest.mark.parametrize("words", [("convert",), ("export", "--format", "trl_preference")])
def test_nothing_is_written_over_its_source(run, data, words):
    before = data.read_bytes()
    said = run(*words, data, data.parent / "work" / ".." / data.name, fails=ConfigError)
    assert "is the data itself" in str(said.exception)
    assert data.read_bytes() == before


def test_export_tells_its_losses(run, data, tmp_path):
    out = tmp_path / "out.csv"
    result = run("export", data, out, "--format", "trl_preference", "--from", "trl_preference")
    assert result.stdout == f"40 rows of 40 records -> {out}\n"
    assert result.stderr == "  lost: id and source (40 records)\n"
    assert [row.candidates[0].text for row in load(out)] == [row["chosen"] for row in ROWS]


def test_keep_column(run, tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({**ROWS[0], "colour": "red", "size": 3}) + "\n")
    run("inspect", path, "--json", "--keep-column", "colour", fails=TooManyRejects)
    run("convert", path, tmp_path / "b.jsonl", "--keep-column", "colour", "--keep-column", "size")
    assert load(tmp_path / "b.jsonl")[0].meta == {"colour": "red", "size": 3}


def test_formats(run):
    said = run("formats").stdout
    assert "hh_rlhf" in said
    assert "(read only) UKPConvArg1 full XML" in said


def test_rename(run, tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"q": "2 + 2?", "chosen": "4", "rejected": "5"}\n')
    run("convert", path, tmp_path / "b.jsonl", "--rename", "q=prompt")
    assert '"content": "2 + 2?"' in (tmp_path / "b.jsonl").read_text()
    run("convert", path, tmp_path / "b.jsonl", "--rename", "q", fails=ConfigError)
