"""What LLaMA-Factory's description says holds for as long as it says it."""

import json

import pytest

from prefine.errors import TooManyRejects
from prefine.records import load


def test_a_changed_description_is_read_again(tmp_path):
    path, info = tmp_path / "data.jsonl", tmp_path / "dataset_info.json"
    path.write_text(json.dumps({"question": "Hi", "answer": "Hello"}))

    def describe(**columns: str):
        entry = {"file_name": path.name, "columns": columns}
        info.write_text(json.dumps({"mine": entry}))

    describe(prompt="question", response="answer")
    [record] = load(path, format="alpaca")
    assert (record.context[0].text, record.candidates[0].text) == ("Hi", "Hello")
    describe(prompt="answer", response="question")
    [record] = load(path, format="alpaca")
    assert (record.context[0].text, record.candidates[0].text) == ("Hello", "Hi")
    info.unlink()
    with pytest.raises(TooManyRejects, match="unknown key `question`"):
        load(path, format="alpaca", rejects=tmp_path / "rejects.jsonl")
