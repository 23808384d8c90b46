"""A reward model on disk and in use: every candidate of every record, and what numbers mean."""

import dataclasses
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from prefine.errors import ConfigError
from prefine.models import RewardModel
from prefine.models.reward import FILE, RewardCard
from prefine.records import Candidate, Message, Record, Records

CARD = RewardCard(
    template="the tokenizer's own", template_hash="0" * 16, mean=0.25, std=2.0,
    distribution="responses held out of a file", max_length=64, scale="absolute", temperature=2.0,
)  # fmt: skip


def record(name: str, *texts: str, prompt: str = "why?") -> Record:
    return Record(
        id=name,
        context=(Message("user", prompt),),
        candidates=tuple(
            Candidate(f"c{k}", (Message("assistant", text),)) for k, text in enumerate(texts)
        ),
    )


def by_hand(name: str, tokenizer: Any, prompt: str, text: str) -> float:
    """The plain model on the rendered conversation, one at a time."""
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(name, num_labels=1).double().eval()
    chat = [{"role": "user", "content": prompt}, {"role": "assistant", "content": text}]
    words = tokenizer.apply_chat_template(chat, tokenize=False).removesuffix("\n")
    ids = tokenizer(words, add_special_tokens=False)["input_ids"]
    assert ids[0] == tokenizer.bos_token_id
    assert ids[-1] == tokenizer.eos_token_id
    with torch.no_grad():
        return float(model(input_ids=torch.tensor([ids])).logits[0, 0])


def test_every_candidate_of_every_record_in_order(reward: str, tiny_tokenizer: Any) -> None:
    records = Records.of(
        [record("b", "no"), record("a", "yes", "well", "perhaps so"), record("c", "1", "22")]
    )
    rewards = RewardModel.load(reward, dtype="float64")(records)
    assert rewards.value.shape == (3, 3)
    assert rewards.scale == "prompt"
    for line, given in zip(rewards.value, records, strict=True):
        expected = [
            by_hand(reward, tiny_tokenizer, "why?", candidate.text)
            for candidate in given.candidates
        ]
        assert line[: len(expected)].tolist() == pytest.approx(expected, abs=1e-9)
        assert line[len(expected) :].isnan().all()
    assert len({round(v, 6) for v in rewards.value.flatten().tolist() if v == v}) == 6


def test_records_of_one_id_keep_their_own_rewards(reward: str) -> None:
    model = RewardModel.load(reward, dtype="float64")
    together = model(Records.of([record("a", "yes", "no", "well")])).value[0]
    apart = model(Records.of([record("a", text) for text in ("yes", "no", "well")])).value[:, 0]
    assert apart.tolist() == pytest.approx(together.tolist(), abs=1e-9)


def test_what_cannot_be_scored_is_nan_and_said(
    reward: str, caplog: pytest.LogCaptureFixture
) -> None:
    records = Records.of([record("a", "yes", "no <|im_end|>"), record("b", "no")])
    with caplog.at_level(logging.WARNING):
        value = RewardModel.load(reward)(records).value
    assert value[0].isnan().all(), "candidates of a record are comparable, or none is scored"
    assert value[1].isnan().tolist() == [False, True]
    assert "1 of 2 records were not scored: the text of a message contains" in caplog.text


def test_a_cut_prompt_is_said(reward: str, caplog: pytest.LogCaptureFixture) -> None:
    records = Records.of([record("a", "yes", prompt="why? " * 40)])
    with caplog.at_level(logging.WARNING):
        RewardModel.load(reward, max_length=40)(records)
    assert "prompt cut on the left: 1" in caplog.text


def test_a_card_survives_the_disk(tmp_path: Path) -> None:
    CARD.save(tmp_path)
    assert RewardCard.load(tmp_path) == CARD
    written = json.loads((tmp_path / FILE).read_text())
    assert written["temperature"] == 2.0
    assert written["pooling"] == "last attended token"


@pytest.fixture
def with_card(make_reward: Callable[..., Any], folder: Callable[..., str]) -> tuple[str, Any]:
    """A folder, and `write(**fields)` that puts a card into it."""
    name = folder(make_reward())
    own = RewardModel.load(name).adapter.fingerprint()["template"]

    def write(**fields: Any) -> None:
        dataclasses.replace(CARD, **{"template_hash": own, **fields}).save(Path(name))

    return name, write


def test_a_card_says_how_a_model_is_used(with_card: tuple[str, Any]) -> None:
    name, write = with_card
    assert RewardModel.load(name).card is None
    write()
    loaded = RewardModel.load(name)
    assert loaded.adapter.max_length == 64
    assert RewardModel.load(name, max_length=32).adapter.max_length == 32
    assert loaded(Records.of([record("a", "yes")])).scale == "absolute"


def test_another_template_is_refused(with_card: tuple[str, Any]) -> None:
    name, write = with_card
    write()
    with pytest.raises(ConfigError, match="this is another one"):
        RewardModel.load(name, template="chatml")
    write(template_hash="f" * 16)
    with pytest.raises(ConfigError, match="its scores would mean nothing"):
        RewardModel.load(name)


@pytest.mark.parametrize("text", ["{", "[]", '{"mean": 1}', '{"unknown": 1}'])
def test_a_broken_card_is_refused(with_card: tuple[str, Any], text: str) -> None:
    name, _ = with_card
    (Path(name) / FILE).write_text(text)
    with pytest.raises(ConfigError, match=r"preference\.json.*unknown"):
        RewardModel.load(name)


def test_a_language_model_is_no_reward_model(policy: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"score\.weight"):
        RewardModel.load(policy)
    with pytest.raises(ConfigError, match="could not be loaded"):
        RewardModel.load(str(tmp_path))
