"""`prefine generate` with a language model: drawn, mixed and searched responses."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prefine.models import load_policy, load_tokenizer
from prefine.recipes.answering import Answering
from prefine.records import Message, Record, Source, load
from prefine.sampling import BeamSampler

Call = Callable[..., tuple[int, str, str]]

BRIEF = ("--max-new-tokens", 6)


def texts(path: Path) -> list[list[str]]:
    return [[c.text for c in record.candidates] for record in load(path)]


def test_responses_are_drawn_and_recorded(home: Path, tmp_path: Path, prefine: Call) -> None:
    (tmp_path / "asked.txt").write_text("say one\n\nsay two\n", encoding="utf-8")
    words = ("generate", home / "model", "--prompt", "say zero", "--prompts", "asked.txt",
             *BRIEF, "-n", 3, "--temperature", 0.5)  # fmt: skip
    code, out, err = prefine(*words, "--out", "a", "--seed", 1, "--json")
    assert code == 0, err
    report = json.loads(out)
    records = list(load(tmp_path / report["records"]))
    assert report["prompts"] == len(records) == 3
    assert report["responses"] == 9
    assert [record.context[0].text for record in records] == ["say zero", "say one", "say two"]
    candidates = [c for record in records for c in record.candidates]
    assert report["cut"] == sum(c.stats["finished"] == 0 for c in candidates)
    for candidate in candidates:
        assert candidate.stats["log_prob"] < 0
        assert candidate.origin.model == "model"
        assert candidate.origin.sampling == {"max_new_tokens": 6, "temperature": 0.5, "seed": 1}
    assert prefine(*words, "--out", "b", "--seed", 1)[0] == 0
    assert prefine(*words, "--out", "c", "--seed", 2)[0] == 0
    same, other = (texts(tmp_path / name / "records.jsonl") for name in "bc")
    assert same == texts(tmp_path / "a" / "records.jsonl") != other
    code, out, err = prefine("data", "inspect", "a/records.jsonl", "--json")
    assert code == 0, err
    assert json.loads(out)["candidates"] == 9


def test_what_was_cut_off_is_said(home: Path, prefine: Call) -> None:
    words = ("generate", home / "model", "--prompt", "hi", "--max-new-tokens", 1, "-n", 4)
    code, out, err = prefine(*words, "--out", "out")
    assert code == 0, err
    assert "4 responses to 1 prompts in out/records.jsonl" in out
    cut = sum(c.stats["finished"] == 0 for c in load("out/records.jsonl")[0].candidates)
    assert f"{cut} of them were cut off at 1 tokens" in out
    code, out, err = prefine(*words, "--out", "out", "--resume")
    assert (code, "4 responses" in out) == (0, True), err
    assert "--resume" in prefine(*words, "--out", "out")[2]


def test_prompts_of_records_are_answered_once_each(
    home: Path, tmp_path: Path, prefine: Call
) -> None:
    rows = [{"prompt": text, "chosen": "a", "rejected": "b"} for text in ("x?", "y?", "x?")]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    words = ("generate", home / "model", "--prompts", "pairs.jsonl", *BRIEF)
    code, _, err = prefine(*words, "--out", "out")
    assert code == 0, err
    found = list(load("out/records.jsonl"))
    assert [record.context[0].text for record in found] == ["x?", "y?"]
    assert not any(record.judgments for record in found)
    assert found[0].source.name == "pairs.jsonl"
    code, _, err = prefine(*words, "--out", "named", "--format", "trl_preference")
    assert code == 0, err


def test_a_search_is_that_of_the_sampler(home: Path, tmp_path: Path, prefine: Call) -> None:
    asked = [
        Record(source=Source("generate", row=at), context=(Message("user", text),), candidates=())
        for at, text in enumerate(("hi", "a longer question?"))
    ]
    code, _, err = prefine(
        "generate", home / "model", "--prompt", "hi", "--prompt", "a longer question?", *BRIEF,
        "--beams", 3, "--length-penalty", 0, "-n", 2, "--out", "out",
    )  # fmt: skip
    assert code == 0, err
    model, tokenizer = load_policy(str(home / "model")), load_tokenizer(str(home / "model"))
    search = BeamSampler(model, tokenizer, max_new_tokens=6, beams=3, length_penalty=0.0)
    found = search(asked, n=2)
    records = list(load("out/records.jsonl"))
    assert texts(tmp_path / "out" / "records.jsonl") == [
        [c.text for c in record.candidates] for record in found.records
    ]
    told = [c.stats["log_prob"] for record in records for c in record.candidates]
    assert told == pytest.approx(found.log_probs.flatten().tolist(), abs=1e-5)
    sampling = records[0].candidates[0].origin.sampling
    assert sampling == {"max_new_tokens": 6, "beams": 3, "length_penalty": 0.0}


def test_options_of_a_search_reach_it(home: Path) -> None:
    made = Answering(
        model=str(home / "model"), beams=3, length_penalty=0.5, max_new_tokens=7, batch_size=2,
        template="chatml",
    ).sampler()  # fmt: skip
    assert isinstance(made, BeamSampler)
    assert (made.beams, made.length_penalty, made.max_new_tokens) == (3, 0.5, 7)
    assert (made.batch_size, made.template, made.name) == (2, "chatml", "model")


def test_a_mixture_draws_from_both(
    home: Path, tmp_path: Path, prefine: Call, tiny_llama: Any, tiny_tokenizer: Any
) -> None:
    tiny_llama(seed=5, initializer_range=0.3).save_pretrained(tmp_path / "base")
    tiny_tokenizer.save_pretrained(tmp_path / "base")
    words = ("generate", home / "model", "--prompt", "hi", *BRIEF, "-n", 2)
    mixed = ("--reference", "base", "--mixture")
    assert prefine(*words, "--out", "some", *mixed, 0.5)[0] == 0
    assert prefine(*words, "--out", "all", *mixed, 1)[0] == 0
    code, _, err = prefine("generate", "base", "--prompt", "hi", *BRIEF, "-n", 2, "--out", "base2")
    assert code == 0, err
    assert texts(tmp_path / "all/records.jsonl") == texts(tmp_path / "base2/records.jsonl")
    sampling = load("some/records.jsonl")[0].candidates[0].origin.sampling
    assert (sampling["mixture"], sampling["reference"]) == (0.5, "base")
    other = tiny_tokenizer.__class__.from_pretrained(tmp_path / "base")
    other.add_tokens(["another"])
    other.save_pretrained(tmp_path / "base")
    code, _, err = prefine(*words, "--out", "bad", *mixed, 0.5)
    assert code == 2
    assert "different vocabularies" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "nothing to answer"),
        (("--prompt", "a", "--steps", 3), "--steps: "),
        (("--prompt", "a", "--guidance", 3), "writes text"),
        (("--prompt", "a", "--temperature", 0), "search with one beam"),
        (("--prompt", "a", "--temperature", "nan"), "a finite number above 0, got nan"),
        (("--prompt", "a", "--beams", 2, "--length-penalty", "inf"), "a finite number, got inf"),
        (("--prompt", "a", "--beams", 2, "--temperature", 0.5), "so temperature means nothing"),
        (("--prompt", "a", "--beams", 2, "--mixture", 0.5), "so mixture means nothing"),
        (("--prompt", "a", "--beams", 2, "--seed", 0), "a seed does nothing"),
        (("--prompt", "a", "--beams", 2, "-n", 3), "3 were asked for"),
        (("--prompt", "a", "--length-penalty", 1), "A length penalty"),
        (("--prompt", "a", "--beams", 1, "--length-penalty", 1), "A length penalty"),
        (("--prompt", "a", "--mixture", 0.5), "give both or neither"),
        (("--prompt", "a", "--reference", "b"), "give both or neither"),
        (("--prompt", "a", "--format", "prefine"), "--format names a reader"),
        (("--prompt", "<|im_end|>"), "cannot be answered"),
    ],
)
def test_what_makes_no_sense_is_refused(
    words: tuple[Any, ...], message: str, home: Path, prefine: Call
) -> None:
    code, _, err = prefine("generate", home / "model", *words, "--out", "out")
    assert code in (1, 2)
    assert message in err


def test_prompts_that_are_no_text_are_refused(home: Path, tmp_path: Path, prefine: Call) -> None:
    (tmp_path / "asked.bin").write_bytes(b"\xff\xfe\x00")
    code, _, err = prefine("generate", home / "model", "--prompts", "asked.bin", "--out", "out")
    assert code == 2
    assert "not text in UTF-8" in err


def test_an_attempt_that_drew_nothing_can_be_repeated(home: Path, prefine: Call) -> None:
    words = ("--prompt", "hi", *BRIEF, "--out", "out")
    code, _, err = prefine("generate", "no-such-model", *words)
    assert code == 2
    assert "no such folder here" in err
    code, _, err = prefine("generate", home / "model", *words)
    assert code == 0, err


def test_a_file_is_no_folder(home: Path, tmp_path: Path, prefine: Call) -> None:
    (tmp_path / "kept.txt").write_text("years of work", encoding="utf-8")
    code, _, err = prefine("generate", home / "model", "--prompt", "hi", "--out", "kept.txt")
    assert (code, "kept.txt is a file. Name a folder" in err) == (1, True)
    assert (tmp_path / "kept.txt").read_text(encoding="utf-8") == "years of work"
