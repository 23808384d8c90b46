"""Presets are written out, and lose to what a user sets."""

import pytest

from prefine.objectives.registry import build, names
from prefine.training.blocks import StreamingConfig
from prefine.training.config import (
    ChaseConfig,
    DataConfig,
    DegreesConfig,
    DenoisingConfig,
    LoraConfig,
    RationaleConfig,
    parse,
)
from prefine.training.presets import PRESETS, expand

NAMED = {"model": "m", "data": "d", "out": "o"}


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_an_objective_with_options_that_exist(name: str) -> None:
    preset = PRESETS[name]
    assert name not in names(), "a preset adds no objective"
    build(preset.objective, preset.options)
    DenoisingConfig(**preset.denoising)
    DataConfig(**preset.rows)
    RationaleConfig(**preset.rationale)
    ChaseConfig(**preset.chase)
    LoraConfig(**preset.lora)
    DegreesConfig(**preset.degrees)
    StreamingConfig(**preset.streaming)
    config = parse({"objective": name.replace("_", "-"), **NAMED})
    assert config.objective == preset.objective
    assert config.options == preset.options


def test_what_is_given_wins() -> None:
    config = parse(
        {
            "objective": "diffusion_dpo", "options": {"beta": 10.0},
            "denoising": {"draws": 3}, **NAMED,
        }
    )  # fmt: skip
    assert config.options == {"beta": 10.0}
    assert config.denoising is not None
    assert (config.denoising.draws, config.denoising.noise) == (3, "shared")
    chased = parse({"objective": "ofs_dpo", "lora": {"r": 4}, "chase": {"every": 5}, **NAMED})
    assert (chased.lora, chased.chase) == (LoraConfig(r=4), ChaseConfig(every=5))
    assert expand({"objective": "dpo", "options": {}}) == {"objective": "dpo", "options": {}}
