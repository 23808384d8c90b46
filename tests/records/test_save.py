"""Writing: own files come back bit for bit; exports say what they lose."""

import gzip
import json

import pytest

from prefine.errors import ConfigError, RecordError
from prefine.records import Records, load

ENDINGS = [".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet"]


@pytest.fixture
def rich(make_record, vote, rating):
    """Records with something in every field."""
    full = make_record(
        judgments=[vote("c1", rationale="Because."), rating({"c0": 1, "c1": None})],
        tools=({"name": "search"},),
        tags={"weight": 2, "topic": "é"},
        meta={"a": [1, {"b": None}]},
    )
    return Records.of([full, make_record(replies=[], row=1, prompt="Zeile 1\nZeile 2\u2028")])


@pytest.mark.parametrize("ending", ENDINGS)
def test_round_trip(rich, tmp_path, ending):
    path = tmp_path / f"a{ending}"
    rich.save(path)
    again = load(path)
    assert list(again) == list(rich)
    assert (again.fingerprint, again.format) == (rich.fingerprint, "prefine")


@pytest.mark.parametrize("ending", ENDINGS)
def test_same_records_same_bytes(rich, tmp_path, ending):
    first, second = tmp_path / f"a{ending}", tmp_path / f"b{ending}"
    rich.save(first)
    load(first).save(second)
    assert first.read_bytes() == second.read_bytes()


def test_fingerprint_is_of_the_content(rich, make_record):
    assert rich.fingerprint == Records.of(list(rich), source="elsewhere").fingerprint
    assert rich.fingerprint != Records.of(reversed(list(rich))).fingerprint
    assert rich.fingerprint != rich.map(lambda record: make_record()).fingerprint


def test_unknown_endings(rich, tmp_path):
    with pytest.raises(RecordError, match=r"a.txt must end in one of .jsonl"):
        rich.save(tmp_path / "a.txt")
    with pytest.raises(RecordError, match=r"a.parquet must end in one of .jsonl"):
        rich.export("trl_preference", tmp_path / "a.parquet")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_save_leaves_the_old_file(rich, tmp_path, monkeypatch):
    path = tmp_path / "a.jsonl"
    path.write_text("old")

    first = next(rich.stored())

    def fail(self):
        yield first
        raise RuntimeError("disk")

    monkeypatch.setattr(Records, "stored", fail)
    with pytest.raises(RuntimeError, match="disk"):
        rich.save(path)
    assert [p.name for p in tmp_path.iterdir()] == ["a.jsonl"]
    assert path.read_text() == "old"


# --- Export -------------------------------------------------------------------------------------

PAIRS = [
    {"prompt": f"{n}?", "chosen": f"yes\t{n}" if n == 2 else f"yes {n}", "rejected": "no"}
    for n in range(3)
]


@pytest.mark.parametrize("ending", [".jsonl", ".jsonl.gz", ".json", ".csv"])
def test_exported_rows_load_again(tmp_path, ending):
    path = tmp_path / f"a{ending}"
    done = load(PAIRS).export("trl_preference", path)
    assert (done.rows, done.records, done.losses) == (3, 3, {"id and source": 3})
    again = load(path)
    assert [record.candidates[0].text for record in again] == [row["chosen"] for row in PAIRS]
    if ending == ".jsonl.gz":
        text = gzip.decompress(path.read_bytes()).decode()
        assert [json.loads(line) for line in text.splitlines()] == PAIRS


def test_losses_are_counted_by_record(rich, tmp_path):
    done = rich.export("trl_preference", tmp_path / "a.jsonl")
    assert (done.rows, done.records) == (1, 1)
    assert done.losses == {
        "the whole record": 1,  # the bare prompt has no pair
        "id and source": 1,
        "judgments beyond one": 1,
        "meta": 1,
        "raters": 1,
        "ratings": 1,
        "rationales": 1,
        "tags": 1,
        "weight": 1,
    }


def test_what_a_table_cannot_hold_is_refused(tmp_path, make_record, vote):
    with pytest.raises(RecordError, match="A cell holds a tab or a line break"):
        load(PAIRS).export("trl_preference", tmp_path / "a.tsv")
    chat = Records.of([make_record(judgments=[vote("c0")])])
    with pytest.raises(RecordError, match="`prompt` of trl_preference is nested here"):
        chat.export("trl_preference", tmp_path / "a.csv")
    uneven = load([{**PAIRS[0], "margin": 1}, PAIRS[1]])
    with pytest.raises(RecordError, match="Rows of this export differ in their columns"):
        uneven.export("trl_preference", tmp_path / "a.csv")
    assert list(tmp_path.iterdir()) == []


def test_formats_that_cannot_be_written_or_are_unknown(rich, tmp_path):
    with pytest.raises(RecordError, match="ukp_convarg_xml can be read but not written"):
        rich.export("ukp_convarg_xml", tmp_path / "a.jsonl")
    with pytest.raises(ConfigError, match="unknown format `trl_pairs`"):
        rich.export("trl_pairs", tmp_path / "a.jsonl")
