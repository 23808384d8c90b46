"""A configuration says every mistake by its key, and means the same after a round trip."""

from dataclasses import fields
from typing import Any

import pytest
import yaml
from transformers import TrainingArguments

from prefine.errors import ConfigError
from prefine.training.config import OURS, RENAMED, check_training, override, parse

LEAST = {"objective": "dpo", "model": "m", "data": "d", "out": "o"}


def test_a_configuration_survives_yaml() -> None:
    config = parse({**LEAST, "options": {"beta": 0.3}, "lora": {}, "rows": {"votes": "soft"}})
    again = yaml.safe_load(yaml.safe_dump(config.model_dump()))
    assert parse(again) == config


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"rows": {"vote": "soft"}}, r"rows\.vote: there is no such key. Did you mean votes\?"),
        ({"rows": {"zzz": 1}}, r"rows\.zzz: there is no such key. Known: .*max_rejects"),
        ({"lora": {"rang": 1}}, r"lora\.rang: there is no such key"),
        ({"holdout": 1.0}, "holdout: .*less than 1, got 1.0"),
        ({"rows": {"votes": "loud"}}, r"rows\.votes: .*'majority', 'soft' or 'each', got 'loud'"),
        ({"max_length": 1}, "max_length: .*greater than or equal to 2"),
        ({"seed": "later"}, "seed: .*valid integer"),
        ({"model": None}, "model: "),
        ({"degrees": 3}, r"degrees: this is a block of keys, such as --set degrees\.weight=\.\.\."),
        ({"mixing": {"by": "x"}}, r"mixing\.toward: this is needed. Pass --set mixing\.toward="),
    ],
    ids=lambda v: ".".join(v) if isinstance(v, dict) else None,
)
def test_a_mistake_is_said_by_its_key(more: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        parse({**LEAST, **more})


def test_all_mistakes_are_said_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        parse({"objective": "dpo", "model": "m", "seeed": 1})
    text = str(caught.value)
    assert "data: this is needed" in text
    assert "out: this is needed" in text
    assert "seeed: there is no such key. Did you mean seed?" in text


@pytest.mark.parametrize("key", sorted(RENAMED))
def test_old_names_of_arguments_lead_to_new_ones(key: str) -> None:
    with pytest.raises(ConfigError, match=f"{key}: transformers 5 has no such argument; use "):
        check_training({key: 1})


def test_our_names_are_names_of_transformers() -> None:
    known = {f.name for f in fields(TrainingArguments)}
    assert OURS.keys() <= known, "an argument that is gone needs no better name"
    with pytest.raises(ConfigError, match=r"training\.output_dir: set out instead"):
        check_training({"output_dir": "x"})
    check_training({"load_best_model_at_end": True, "learning_rate": 1e-4})


def test_dotted_keys_go_inside_and_change_nothing_else() -> None:
    given: dict[str, Any] = {"options": {"beta": 0.1, "loss": "dpo"}, "lora": None}
    made = override(given, {"options.beta": 0.2, "lora.r": 4, "rows.votes": "soft"})
    assert made == {
        "options": {"beta": 0.2, "loss": "dpo"}, "lora": {"r": 4}, "rows": {"votes": "soft"},
    }  # fmt: skip
    assert given == {"options": {"beta": 0.1, "loss": "dpo"}, "lora": None}
    with pytest.raises(ConfigError, match=r"model\.x: model is a single value"):
        override({"model": "m"}, {"model.x": 1})


def test_a_strategy_of_no_means_no_as_yaml_reads_it() -> None:
    training = yaml.safe_load("{save_strategy: no, bf16: no}")
    assert training["save_strategy"] is False
    read = parse({"objective": "dpo", "model": "m", "data": "d", "out": "o", "training": training})
    assert read.training == {"save_strategy": "no", "bf16": False}


def test_an_objective_may_be_written_with_dashes() -> None:
    given = {"model": "m", "data": "d", "out": "o"}
    assert parse({"objective": "apo-zero", **given}).objective == "apo_zero"
    assert parse({"objective": "my-module:loss", **given}).objective == "my-module:loss"
