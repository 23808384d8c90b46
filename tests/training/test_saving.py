"""A saved model says what it is, loads anywhere, and scores as it did when it was trained."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard

from prefine.errors import ConfigError
from prefine.models import RewardModel, load_policy, load_reward_model, load_tokenizer
from prefine.models.reward import RewardCard
from prefine.records import Records, load
from prefine.training.run import train

Configure = Callable[..., Any]


@pytest.mark.parametrize("template", ["auto", "dialogue"])
def test_a_reward_model_scores_as_when_it_was_trained(
    configure: Configure, start: Path, tmp_path: Path, template: str
) -> None:
    """Also with a template that its tokenizer did not bring: the saved one does."""
    config = configure(
        "reward", template=template, max_length=300, eval_data=str(start / "pairs.jsonl")
    )
    summary = train(config, quiet=True).summary
    model = RewardModel.load(str(tmp_path / "run" / "model"))
    assert model.card is not None
    assert (model.card.max_length, model.card.scale) == (300, "prompt")
    values = model(load(start / "pairs.jsonl")).value
    assert model.card.mean == pytest.approx(float(values.mean()), abs=1e-6)
    assert model.card.std == pytest.approx(float(values.std(correction=0)), abs=1e-6)
    right = (values[:, 0] > values[:, 1]).double().mean()
    assert summary["metrics"]["accuracy"]["value"] == pytest.approx(float(right))
    margin = (values[:, 0] - values[:, 1]).mean()
    assert summary["metrics"]["margin"]["value"] == pytest.approx(float(margin), abs=1e-5)


def test_a_card_tells_no_paths(configure: Configure, start: Path, tmp_path: Path) -> None:
    train(configure("reward", options={"centre": 0.01}), quiet=True)
    folder = tmp_path / "run" / "model"
    for name in ("preference.json", "README.md"):
        assert str(start) not in (folder / name).read_text()
    card = RewardCard.load(folder)
    assert card is not None
    assert card.distribution == "responses held out of pairs.jsonl"
    assert card.scale == "absolute"


def test_a_card_says_what_the_data_was_and_under_which_licences(
    configure: Configure, start: Path, tmp_path: Path
) -> None:
    config = configure("dpo", eval_data=str(start / "pairs.jsonl"))
    summary = train(config, quiet=True).summary
    assert summary["data"]["licences"] == {"not stated": 24}
    card = ModelCard.load(tmp_path / "run" / "model" / "README.md")
    assert "| from | pairs.jsonl |" in card.text
    assert "| licences, with the records that name them | not stated 24 |" in card.text
    assert "- the licence of 24 of 24 records is not known" in card.text
    assert "the licence of 24 of 24 records is not known" in shown(tmp_path / "run")
    results = {result.metric_type: result for result in card.data.eval_results or []}
    accuracy = summary["metrics"]["accuracy"]
    assert results["accuracy"].metric_value == accuracy["value"]
    assert results["accuracy"].metric_args == {k: v for k, v in accuracy.items() if k != "value"}


def test_licences_are_told_with_their_counts_and_an_option_names_what_is_not_stated(
    configure: Configure, start: Path, tmp_path: Path
) -> None:
    """Records that name their licence keep it; the option is for the others."""
    records = list(load(start / "pairs.jsonl"))
    named = replace(records[0], source=replace(records[0].source, license="cc-by-4.0"))
    data = tmp_path / "own.jsonl"
    Records.of([named, *records[1:]]).save(data)
    unsaid = train(configure("dpo", data=str(data), out=str(tmp_path / "unsaid")), quiet=True)
    assert unsaid.summary["data"]["licences"] == {"not stated": 23, "cc-by-4.0": 1}
    assert any("the licence of 23 of 24 records" in note for note in unsaid.summary["notes"])
    said = configure("dpo", data=str(data), out=str(tmp_path / "said"), rows={"license": "mit"})
    summary = train(said, quiet=True).summary
    assert summary["data"]["licences"] == {"mit": 23, "cc-by-4.0": 1}
    assert not any("licence" in note for note in summary["notes"])
    card = (tmp_path / "said" / "model" / "README.md").read_text()
    assert "| licences, with the records that name them | mit 23; cc-by-4.0 1 |" in card
    assert "mit 23" in shown(tmp_path / "said")


def shown(run: Path) -> str:
    """The report of a run as text without its tags."""
    text = (run / "report.html").read_text(encoding="utf-8")
    return " ".join(re.sub(r"<[^>]+>", " ", text).split())


def test_adapters_of_a_reward_model_load_whole(
    configure: Configure, start: Path, tmp_path: Path
) -> None:
    summary = train(configure("reward", lora={"r": 2}), quiet=True).summary
    folder = tmp_path / "run" / "model"
    assert (folder / "adapter_model.safetensors").is_file()
    assert not (folder / "model.safetensors").exists()
    value = RewardModel.load(str(folder))(load(start / "pairs.jsonl")).value
    assert bool(value.isfinite().all())
    again = RewardModel.load(str(folder))(load(start / "pairs.jsonl")).value
    torch.testing.assert_close(value, again), "the head is the trained one, not a new one"
    assert summary["trainable"] < summary["parameters"]


@pytest.mark.parametrize("objective", ["simpo", "reward"])
def test_adapters_that_were_trained_on_adapters_keep_both(
    configure: Configure, start: Path, tmp_path: Path, objective: str
) -> None:
    first = configure("simpo", lora={"r": 2}, out=str(tmp_path / "first"))
    first.training |= {"learning_rate": 0.5}
    train(first, quiet=True)
    second = configure(
        objective, lora={"r": 3}, model=str(tmp_path / "first" / "model"), out=str(tmp_path / "two")
    )
    second.training |= {"learning_rate": 1e-12}
    train(second, quiet=True)
    load_one = load_policy if objective == "simpo" else partial(load_reward_model, new_head=False)
    untrained, trained, both = (
        load_policy(str(start / "model")), load_policy(str(tmp_path / "first" / "model")),
        load_one(str(tmp_path / "two" / "model")),
    )  # fmt: skip
    name = "model.layers.0.self_attn.q_proj.weight"
    kept = [dict(each.named_parameters())[name] for each in (untrained, trained, both)]
    assert not torch.allclose(kept[0], kept[1])
    torch.testing.assert_close(kept[2], kept[1])


def test_a_policy_brings_its_template(configure: Configure, tmp_path: Path) -> None:
    train(configure("simpo", template="chatml"), quiet=True)
    folder = str(tmp_path / "run" / "model")
    assert "<|im_start|>" in load_tokenizer(folder).chat_template
    load_policy(folder)
    files = {path.name for path in Path(folder).iterdir()}
    assert "training_args.bin" not in files
    assert "preference.json" not in files
    assert [p.name for p in (tmp_path / "run").iterdir() if p.name.startswith(".")] == []
    with pytest.raises(ConfigError, match=r"score\.weight"):
        RewardModel.load(folder)


def test_what_is_saved_is_safe_and_readable(configure: Configure, tmp_path: Path) -> None:
    train(configure("reward"), quiet=True)
    folder = tmp_path / "run" / "model"
    assert not [p for p in folder.iterdir() if p.suffix in (".bin", ".pt", ".pkl")]
    assert json.loads((folder / "config.json").read_text())["architectures"] == [
        "LlamaForSequenceClassification"
    ]
