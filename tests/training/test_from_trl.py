"""Configurations of TRL: every key of every trainer is carried over or named."""

import dataclasses
from typing import Any

import pytest

from prefine.errors import ConfigError
from prefine.objectives.registry import build
from prefine.training.config import parse
from prefine.training.from_trl import METHODS, SYNC, TRAINING, translate
from prefine.training.trl_losses import DEFAULTS, LOSSES, PAIR_LOSSES

FILE = {"model_name_or_path": "org/model", "dataset_name": "org/data", "output_dir": "out"}


def config_of_trl(method: str) -> Any:
    import trl
    from trl.experimental.cpo import CPOConfig
    from trl.experimental.orpo import ORPOConfig

    configs: dict[str, Any] = {
        "sft": trl.SFTConfig, "reward": trl.RewardConfig, "dpo": trl.DPOConfig,
        "kto": trl.KTOConfig, "cpo": CPOConfig, "orpo": ORPOConfig,
    }  # fmt: skip
    return configs[method]


def keys_of_trl(method: str) -> set[str]:
    """What TRL's command line reads for a trainer."""
    import trl

    classes = (config_of_trl(method), trl.ModelConfig, trl.ScriptArguments)
    return {field.name for config in classes for field in dataclasses.fields(config)}


@pytest.mark.filterwarnings("ignore:.*experimental.*")
@pytest.mark.parametrize("method", METHODS)
def test_defaults_are_those_of_trl(method: str) -> None:
    """What a configuration leaves out must not change what it trains."""
    theirs: dict[str, Any] = {}
    for field in dataclasses.fields(config_of_trl(method)):
        made = field.default_factory
        theirs[field.name] = field.default if made is dataclasses.MISSING else made()
    written = {**DEFAULTS[method], **TRAINING, **(SYNC if "sync_ref_model" in theirs else {})}
    assert {key: theirs[key] for key in written} == {
        **written,
        "warmup_steps": theirs["warmup_steps"],
    }
    assert (theirs["warmup_steps"] or 0) == TRAINING["warmup_steps"]


@pytest.mark.filterwarnings("ignore:.*experimental.*")
@pytest.mark.parametrize("method", METHODS)
def test_no_key_of_trl_is_unknown(method: str) -> None:
    for key in sorted(keys_of_trl(method) - DEFAULTS[method].keys()):
        made = translate({key: None if key == "use_peft" else 0.5}, method)
        assert "is no key" not in made.notes.get(key, ""), key


@pytest.mark.parametrize("kind", sorted(PAIR_LOSSES))
def test_every_loss_becomes_a_run(kind: str) -> None:
    made = translate({**FILE, "loss_type": kind, "seed": 3}, "dpo")
    config = parse(made.config)
    assert (config.model, config.data, config.out) == ("org/model", "org/data", "out")
    assert config.seed == 3
    build(config.objective, config.options)
    assert set(made.notes) == ({"label_smoothing"} if kind == "exo_pair" else set())
    assert set(LOSSES["dpo"]({"loss_type": kind}).options) >= set(PAIR_LOSSES[kind][1].values()) - {
        "smoothing"
    }


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (
            {"loss_type": "aot", "beta": 0.2},
            ("aot", {"beta": 0.2, "label_noise": 0.0}),
        ),
        (
            {"loss_type": "robust", "label_smoothing": 0.1},
            ("robust_dpo", {"beta": 0.1, "label_noise": 0.1}),
        ),
        ({"loss_type": "robust"}, ("robust_dpo", {"beta": 0.1, "label_noise": 0.0})),
        ({"loss_type": "discopop"}, ("discopop", {"beta": 0.1, "temperature": 0.05})),
        ({"loss_type": "sppo_hard"}, ("sppo", {"beta": 0.1})),
        ({"loss_type": "sigmoid_norm"}, ("length_normalised_dpo", {"beta": 0.1})),
        (
            {"loss_type": "exo_pair", "label_smoothing": 0.01},
            ("exo_preference", {"beta": 0.1, "smoothing": 0.01}),
        ),
        (
            {"loss_type": ["sft", "sigmoid"], "loss_weights": [1.0, 2.0], "beta": 0.3},
            ("rpo", {"beta": 0.3, "likelihood_weight": 0.5}),
        ),
        (
            {"loss_type": "aot_unpaired"},
            ("aot", {"beta": 0.1, "label_noise": 0.0, "paired": False}),
        ),
        ({"ld_alpha": 0.4}, ("ld_dpo", {"beta": 0.1, "tail_weight": 0.4})),
        ({"use_weighting": True}, ("wpo", {"beta": 0.1, "clamp": False})),
        (
            {"f_divergence_type": "alpha_divergence", "f_alpha_divergence_coef": 0.25},
            ("f_dpo", {"beta": 0.1, "divergence": "alpha", "alpha": 0.75}),
        ),
        (
            {"desirable_weight": 1.3},
            ("kto", {"beta": 0.1, "desirable_weight": 1.3, "undesirable_weight": 1.0}),
        ),
        ({"cpo_alpha": 0.5}, ("cpo", {"beta": 0.1, "likelihood_weight": 0.5})),
        (
            {"loss_type": "simpo", "simpo_gamma": 1.0, "beta": 2.0, "cpo_alpha": 0.0},
            ("simpo", {"beta": 2.0, "gamma_over_beta": 0.5}),
        ),
        (
            {"loss_type": "alphapo", "simpo_gamma": 1.0, "beta": 2.0, "alpha": 0.25},
            ("alphapo", {"beta": 2.0, "gamma_over_beta": 0.5, "alpha": 0.25}),
        ),
        ({"center_rewards_coefficient": 0.01}, ("reward", {"centre": 0.01})),
        ({"completion_only_loss": True}, ("sft", {})),
    ],
    ids=str,
)
def test_what_keys_mean(values: dict[str, Any], expected: tuple[str, dict[str, Any]]) -> None:
    made = translate(values)
    assert (made.config["objective"], made.config.get("options", {})) == expected
    assert not made.notes.keys() - {"completion_only_loss", "loss_weights"}


@pytest.mark.parametrize(
    ("method", "rate"), [("sft", 2e-5), ("reward", 1e-4), ("dpo", 1e-6), ("kto", 1e-6)]
)
def test_a_run_is_as_long_as_in_trl(method: str, rate: float) -> None:
    written = translate(FILE, method).config["training"]
    assert written == {"num_train_epochs": 3, "warmup_steps": 0, "learning_rate": rate}


def test_settings_of_the_run() -> None:
    made = translate(
        {
            **FILE, "loss_type": "apo_zero", "learning_rate": 1e-6, "warmup_ratio": 0.1,
            "use_peft": True, "lora_r": 8, "lora_dropout": 0.05, "max_length": 512,
            "dataset_config": "default", "dataset_train_split": "train", "bf16": True,
            "sync_ref_model": True, "ref_model_sync_steps": 64, "truncation_mode": "keep_start",
        }
    )  # fmt: skip
    config = parse(made.config)
    assert config.lora is not None
    assert config.lora.r == 8
    assert config.reference_update is not None
    assert (config.reference_update.every, config.reference_update.mix) == (64, 0.6)
    assert (config.rows.config, config.rows.split) == ("default", "train")
    assert config.training == {
        "num_train_epochs": 3, "learning_rate": 1e-6, "warmup_steps": 0.1, "bf16": True,
    }  # fmt: skip
    assert sorted(made.notes) == ["lora_dropout", "lora_target_modules", "truncation_mode"]


def test_what_trl_ignores_is_named() -> None:
    """Label smoothing does nothing to TRL 1.16's default loss, and nobody says so there."""
    made = translate({"label_smoothing": 0.1, "beta": 0.1}, "dpo")
    assert made.config["objective"] == "dpo"
    assert made.config["options"] == {"beta": 0.1}
    assert "TRL ignores it in silence" in made.notes["label_smoothing"]
    assert translate({"lora_r": 8}, "dpo").notes["lora_r"] == "is read only with use_peft"
    assert (
        translate({"ref_model_sync_steps": 8}, "dpo").notes["ref_model_sync_steps"]
        == "is read only with sync_ref_model"
    )
    made = translate({"ld_alpha": None, "use_weighting": False, "loss_weights": [2.0]})
    assert list(made.notes) == ["loss_weights"]
    made = translate({"loss_type": ["sigmoid", "sft"], "loss_weights": [2.0, 1.0]})
    assert "scales the learning rate by 2" in made.notes["loss_weights"]
    assert not translate({"loss_type": "alphapo", "alpha": 0.5, "simpo_gamma": 1}).notes
    made = translate({"loss_type": "simpo", "simpo_gamma": 1.0})
    assert "adds the likelihood" in made.notes["cpo_alpha"]
    assert "is no key" in translate({"bata": 0.1}, "dpo").notes["bata"]


@pytest.mark.parametrize(
    ("values", "method", "says"),
    [
        ({"beta": 0.1}, "auto", "do not tell which of TRL's trainers"),
        ({"cpo_alpha": 1, "packing": True}, "auto", "do not tell which"),
        ({}, "ppo", "`method` must be auto or one of sft, reward"),
        ({"loss_type": "bco_pair"}, "dpo", "BCO takes single responses"),
        ({"loss_type": "new"}, "dpo", "has no counterpart. Known: sigmoid"),
        ({"loss_type": ["sigmoid", "bco_pair", "sft"]}, "dpo", "weighted_sum"),
        ({"loss_type": "hinge"}, "cpo", "CPO has no counterpart"),
        ({"loss_type": "hinge", "ld_alpha": 0.5}, "dpo", "ld_alpha: 0.5 and loss_type hinge"),
        ({"ld_alpha": 0.5, "use_weighting": True}, "dpo", "with use_weighting: True"),
        ({"f_divergence_type": "total"}, "dpo", "Known: forward_kl, js_divergence"),
        ({"loss_type": ["sigmoid", "sft"], "ld_alpha": 0.5}, "dpo", "`rpo` has no counterpart"),
        ({"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0]}, "dpo", "1 numbers and"),
        ({"loss_type": ["sigmoid", "sft"], "loss_weights": [0, 1]}, "dpo", "left is `sft`"),
        ({"loss_type": "apo_zero_unpaired", "desirable_weight": 2}, "kto", "desirable_weight: 2"),
        ({"loss_type": "new"}, "kto", "KTO has no counterpart"),
        ({"loss_type": "dft"}, "sft", "SFT has no counterpart"),
        ({"cpo_alpha": 0.5, "label_smoothing": 0.1}, "cpo", "label_smoothing: 0.1 changes"),
    ],
)
def test_what_cannot_be_translated(values: dict[str, Any], method: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        translate(values, method)
    assert says in str(caught.value)
