"""Converting in one pass: the bytes of loading and saving, or no file at all."""

import inspect
import json

import pytest

from prefine.errors import RecordError, TooManyRejects
from prefine.records import convert, load
from prefine.records.load import Options, reading

ROWS = [{"prompt": f"{n}? é", "chosen": "yes", "rejected": "no\u2028"} for n in range(5)]


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    return path


@pytest.mark.parametrize("ending", [".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet"])
def test_the_same_bytes_as_load_and_save(data, tmp_path, ending):
    saved, converted = tmp_path / f"a{ending}", tmp_path / f"b{ending}"
    load(data).save(saved)
    done = convert(data, converted)
    assert (done.records, done.rejects.count, done.format) == (5, 0, "trl_preference")
    assert converted.read_bytes() == saved.read_bytes()


def test_rejects_are_counted_or_stop_it(data, tmp_path):
    out, rejects = tmp_path / "out.jsonl", tmp_path / "rejects.jsonl"
    with data.open("a") as file:
        file.write("[1]\n")
    with pytest.raises(TooManyRejects, match="1 of 6 rows could not be read"):
        convert(data, out, rejects=rejects)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.jsonl", "rejects.jsonl"]
    done = convert(data, out, rejects=rejects, max_rejects=0.5)
    assert (done.records, done.rejects.count) == (5, 1)
    assert out.read_text("utf-8").count("\n") == 5


@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
def test_a_source_without_rows_leaves_no_file(tmp_path, ending):
    out = tmp_path / f"out{ending}"
    with pytest.raises(RecordError, match="memory holds no rows"):
        convert([], out)
    assert not out.exists()


def test_unknown_endings(data, tmp_path):
    with pytest.raises(RecordError, match=r"out.txt must end in one of .jsonl"):
        convert(data, tmp_path / "out.txt")


def test_the_options_of_load():
    for function in (load, reading):
        assert list(inspect.signature(function).parameters) == ["source", *Options.__annotations__]
