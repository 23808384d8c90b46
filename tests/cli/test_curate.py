"""`prefine curate`: what it writes, what it says, how it ends."""

import json

import pytest

from prefine.records import load


@pytest.fixture
def rated(tmp_path):
    """Return a file of two rated pairs, the second a tie."""
    names = ["c0", "c1"]
    records = [
        {
            "schema": "prefine/1",
            "id": "",
            "source": {"name": "test", "row": n},
            "context": [{"role": "user", "content": f"Is it {n}?"}],
            "candidates": [
                {"id": name, "messages": [{"role": "assistant", "content": text}]}
                for name, text in zip(names, ("yes", "no"), strict=True)
            ],
            "judgments": [
                {
                    "id": "r", "kind": "rate", "shown": names,
                    "rater": {"id": "ann", "type": "human"},
                    "scores": {"c0": 9.0, "c1": low}, "scale": [1, 10],
                }
            ],
        }
        for n, low in enumerate((2.0, 9.0))
    ]  # fmt: skip
    path = tmp_path / "rated.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_curate_writes_records_and_says_what_became_none(prefine, rated, tmp_path):
    code, out, err = prefine("curate", "goals", rated, "--out", "goals.jsonl")
    assert code == 0
    assert "2 records of 2 -> goals.jsonl" in out
    assert "set aside: tie (1)" in err
    assert len(load(tmp_path / "goals.jsonl")) == 2
    code, out, err = prefine("data", "inspect", "goals.jsonl", "--json")
    assert json.loads(out)["records"] == 2


def test_curate_json(prefine, rated):
    code, out, err = prefine(
        "curate", "goals", rated, "--out", "g.jsonl", "--set", "low=1", "--set", "high=10", "--json"
    )
    found = json.loads(out)
    assert (code, found["records"], found["set_aside"]) == (0, 2, {"tie": 1})
    assert err == "", "no progress beside JSON"


def test_nothing_made_is_a_failure_and_leaves_no_file(prefine, home, tmp_path):
    code, _, err = prefine("curate", "goals", home / "pairs.jsonl", "--out", "none.jsonl")
    assert code == 1
    assert "made nothing of 40 records: no score (40)" in err
    assert not (tmp_path / "none.jsonl").exists()


def test_misuse(prefine, rated):
    code, _, err = prefine("curate", "goals", rated)
    assert (code, "--out FILE" in err) == (2, True)
    code, _, err = prefine("curate", "goals", rated, "--out", "a.jsonl", "--set", "hi=3")
    assert (code, "no option `hi`" in err) == (2, True)


def test_list(prefine):
    code, out, _ = prefine("curate", "--list")
    assert (code, "goals" in out) == (0, True)
    code, out, _ = prefine("curate", "goals", "--list")
    assert "arXiv:2410.08067" in out
    assert [one["name"] for one in json.loads(prefine("curate", "--list", "--json")[1])]
