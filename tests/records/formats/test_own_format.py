"""prefine's own format, bit for bit: what numbers, texts and orders of keys must survive a file."""

import json

import pytest

from prefine.records import Records, load
from prefine.records.formats import FORMATS
from prefine.records.formats.format import Where

TEXTS = ["", " ", "\u0000", "\u2028\r\n\t", "é e\u0301", "\U0001f600", "\ufeff", '"\\/', "NaN"]
NUMBERS = [0, -0.0, 0.0, 1, 1.0, 0.1, 1e-7, 1e22, 5e-324, 1.7976931348623157e308, 2**63, 10**300]
ORDER = {"b": 1, "a": {"z": None, "y": True, "x": 1}, "": [], "1": "1"}
ENDINGS = [".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet"]


def row():
    """A record with each of them, in `meta`, tools, a tag, a score and the texts."""
    said = [{"role": "user", "content": text} for text in TEXTS]
    return {
        "schema": "prefine/1",
        "id": "x",
        "source": {"name": "test", "row": 2**53 + 1},
        "context": said,
        "tools": [ORDER],
        "candidates": [
            {
                "id": "c0",
                "messages": [{"role": "assistant", "content": "".join(TEXTS)}],
                "stats": {str(at): number for at, number in enumerate(NUMBERS)},
            }
        ],
        "judgments": [
            {
                "id": "j0",
                "kind": "rate",
                "shown": ["c0"],
                "rater": {"id": "ann", "type": "human"},
                "scores": {"c0": -0.0},
                "scale": [None, 1e22],
            }
        ],
        "tags": {"b": -0.0, "a": 2**63, "1": True},
        "meta": {"numbers": NUMBERS, "texts": TEXTS, "order": ORDER, "same": [1, 1.0, True]},
    }


def as_text(value):
    """Text tells apart what Python calls equal: 1, 1.0 and True, 0.0 and -0.0, orders of keys."""
    return json.dumps(value, ensure_ascii=False)


@pytest.mark.parametrize("ending", ENDINGS)
def test_nothing_changes_on_the_way_through_a_file(tmp_path, ending):
    path = tmp_path / f"a{ending}"
    [record] = FORMATS["prefine"].records(row(), Where("x", 0))
    Records.of([record]).save(path)
    [again] = load(path)
    assert as_text(again.to_json()) == as_text(record.to_json()) == as_text(row())


def test_lines_of_the_own_format_are_kept_as_they_are(tmp_path):
    path, back = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    path.write_text(as_text(row()) + "\n", encoding="utf-8")
    load(path).save(back)
    assert back.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("text", ['"\\ud800"', "NaN", "1e999", "-Infinity"])
def test_what_no_file_could_hold_is_set_aside(tmp_path, text):
    path = tmp_path / "a.jsonl"
    sound = as_text(row())
    path.write_text(sound + "\n" + sound.replace('"NaN"]', f"{text}]", 1) + "\n", encoding="utf-8")
    records = load(path, max_rejects=1, rejects=tmp_path / "r.jsonl")
    assert (len(records), records.rejects.count) == (1, 1)
