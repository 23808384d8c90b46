"""Votes of several raters: what a run says of each, and a reward model that doubts them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prefine.models import RewardModel
from prefine.records import Candidate, Judgment, Message, Rater, Record, Records, Source, load
from prefine.training.config import parse
from prefine.training.run import train

WRONG = {"ada": 0, "ben": 0, "dan": 1}
"""Whether someone always picks the worse answer."""


@pytest.fixture(scope="module")
def home(
    tmp_path_factory: pytest.TempPathFactory, tiny_llama: Callable[..., Any], tiny_tokenizer: Any
) -> Path:
    """Answers of one word each, of which the good ones are known, and three raters of each."""
    home = tmp_path_factory.mktemp("votes")
    tiny_llama().save_pretrained(home / "model")
    tiny_tokenizer.save_pretrained(home / "model")
    answers = (Message("assistant", "good"),), (Message("assistant", "bad"),)
    Records.of(
        Record(
            source=Source("votes", row=n),
            context=(Message("user", f"say {n}"),),
            candidates=tuple(Candidate(f"c{k}", text) for k, text in enumerate(answers)),
            judgments=tuple(
                Judgment(f"j{k}", "pair", ("c0", "c1"), Rater(who, "human"), winner=f"c{wrong}")
                for k, (who, wrong) in enumerate(WRONG.items())
            ),
        )
        for n in range(40)
    ).save(home / "votes.jsonl")
    return home


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("loss", ["reward", {"name": "bradley_terry"}, None])
def test_each_rater_is_named_with_how_far_they_are_believed(
    loss: Any, home: Path, tmp_path: Path
) -> None:
    training = {
        "use_cpu": True, "max_steps": 30, "per_device_train_batch_size": 12, "report_to": "none",
        "learning_rate": 0.02, "lr_scheduler_type": "constant", "save_strategy": "no",
        "eval_strategy": "no",
    }  # fmt: skip
    options = {"eta": 0.8} | ({} if loss is None else {"loss": loss})
    result = train(
        parse({
            "objective": "robust_em", "options": options, "model": str(home / "model"),
            "data": str(home / "votes.jsonl"), "out": str(tmp_path / "run"), "holdout": 0,
            "rows": {"votes": "each"}, "training": training,
        }),
        quiet=True,
    )  # fmt: skip
    summary = json.loads((result.folder / "summary.json").read_text(encoding="utf-8"))
    trust = summary["raters"]
    assert trust.keys() == WRONG.keys()
    assert trust["dan"] == 0.5 < min(trust["ada"], trust["ben"])
    assert list(trust.values()) == summary["learnt"]["robust_em"]["eta"][:3]
    assert summary["unit"] == ("nats" if loss is None else "reward")
    if loss is not None:
        reward = RewardModel.load(str(result.folder / "model"))
        rows = reward.adapter.prepare(load(str(home / "votes.jsonl")).pairs()).dataset
        assert all(good > bad for good, bad in reward.score(rows))
