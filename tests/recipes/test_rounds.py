"""Rounds of sample, judge, train: what is learnt of a judge, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from prefine.errors import ConfigError, RecordError
from prefine.models import load_policy, load_tokenizer
from prefine.recipes import Rounds, run_rounds
from prefine.recipes.rounds import judged
from prefine.records import Candidate, Message, Record, Records, Source
from prefine.sampling import LanguageSampler

JUDGES = """
def vowels(prompts, completions):
    return [sum(text.count(v) for v in "aeiou") for text in completions]

def same(prompts, completions):
    return [0.0 for _ in completions]
"""
BRIEF = {
    "max_steps": 16, "per_device_train_batch_size": 16, "use_cpu": True, "report_to": "none",
    "learning_rate": 0.02, "lr_scheduler_type": "constant", "eval_strategy": "no",
    "save_strategy": "no", "dataloader_pin_memory": False,
}  # fmt: skip


@pytest.fixture(scope="module")
def home(
    tmp_path_factory: pytest.TempPathFactory, tiny_llama: Callable[..., Any], tiny_tokenizer: Any
) -> Path:
    home = tmp_path_factory.mktemp("rounds")
    tiny_llama().save_pretrained(home / "model")
    tiny_tokenizer.save_pretrained(home / "model")
    (home / "round_judges.py").write_text(JUDGES, encoding="utf-8")
    return home


@pytest.fixture(scope="module")
def asked() -> Records:
    return Records.of(
        Record(
            source=Source("s", row=n), context=(Message("user", f"say {n}"),),
            candidates=(Candidate("c0", (Message("assistant", "yes"),)),),
        )
        for n in range(12)
    )  # fmt: skip


def rounds(home: Path, **more: Any) -> Rounds:
    given: dict[str, Any] = {
        "model": str(home / "model"), "judge": "round_judges:vowels", "rounds": 2,
        "responses": 4, "max_new_tokens": 8,
        "settings": {"training": BRIEF, "options": {"beta": 0.1}},
    }  # fmt: skip
    return Rounds(**{**given, **more})


def vowels(model: str, asked: Records) -> float:
    sampler = LanguageSampler(load_policy(model), load_tokenizer(model), max_new_tokens=8)
    answers = sampler(asked, n=8, seed=100).records
    texts = [one.text for record in answers for one in record.candidates]
    return sum(text.count(v) for text in texts for v in "aeiou") / len(texts)


@pytest.mark.usefixtures("undrawn")
def test_a_policy_learns_what_its_judge_likes_and_goes_on_where_it_stood(
    home: Path, asked: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(home)
    model = run_rounds(asked, rounds(home), tmp_path / "out")
    assert vowels(model, asked) > 2 * vowels(str(home / "model"), asked)
    told = json.loads((tmp_path / "out" / "0-sample-0" / "sampled.json").read_text("utf-8"))
    assert told["prompts"] == 12
    assert told["pairs"] > 12
    assert 0.5 < told["mean_probability"] < 1
    summary = json.loads((Path(model).parent / "summary.json").read_text("utf-8"))
    assert "1-train-0" in summary["model"], "the second round starts from the first one's policy"
    assert str(home / "model") in summary["reference"], "but the reference stays"
    again = run_rounds(asked, rounds(home), tmp_path / "out", resume=True)
    assert again == model


@pytest.mark.usefixtures("undrawn")
def test_an_objective_without_a_reference_asks_for_none(
    home: Path, asked: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(home)
    brief = {"training": {**BRIEF, "max_steps": 2}}
    what = rounds(home, objective="simpo", soft=False, rounds=1, settings=brief)
    model = run_rounds(asked, what, tmp_path / "out")
    summary = json.loads((Path(model).parent / "summary.json").read_text("utf-8"))
    assert summary["reference"] == "none"


def test_pairs_that_were_not_compared_are_left_out() -> None:
    three = tuple(Candidate(f"c{k}", (Message("assistant", t),)) for k, t in enumerate("xyz"))
    record = Record(source=Source("s"), context=(Message("user", "?"),), candidates=three)
    nan = float("nan")
    table = torch.tensor([[[0.5, 0.9, nan], [0.1, 0.5, nan], [nan, nan, nan]]])
    (judgment,) = judged(Records.of([record]), table, "me", soft=False)[0].judgments
    assert (judgment.winner, judgment.prob, judgment.rater.type) == ("c0", None, "model")


def test_a_judge_without_a_view_leaves_nothing_to_learn(
    home: Path, asked: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(home)
    with pytest.raises(RecordError, match="none of the responses better"):
        run_rounds(asked, rounds(home, judge="round_judges:same"), tmp_path / "out")


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"rounds": 0}, "a round or more"),
        ({"responses": 1}, "a single response"),
        ({"settings": {"data": "d"}}, "the rounds set these themselves"),
        ({"settings": {"rows": {"pairs": "all"}}}, "nothing to choose"),
    ],
)
def test_rounds_that_make_no_sense_are_refused(more: dict[str, Any], why: str, home: Path) -> None:
    with pytest.raises(ConfigError, match=why):
        rounds(home, **more)
