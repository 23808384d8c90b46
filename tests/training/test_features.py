"""A frozen trunk runs once over every response, and the head learns what it would have."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from prefine.errors import ConfigError
from prefine.training import features as feature_module
from prefine.training.config import RunConfig
from prefine.training.run import train

Configure = Callable[..., RunConfig]
SHORT = {"max_steps": 6, "per_device_train_batch_size": 4, "logging_steps": 1}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFINE_CACHE", str(tmp_path / "cache"))


def losses(folder: Path) -> list[float]:
    rows = map(json.loads, (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    return [row["loss"] for row in rows if "loss" in row]


@pytest.mark.parametrize("layout", ["packed", "padded"])
def test_cached_features_train_what_the_whole_model_would(
    configure: Configure, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, layout: str
) -> None:
    made = configure("reward", head_only=True, training=SHORT, layout=layout)
    with_cache = train(made, quiet=True)
    monkeypatch.setattr("prefine.training.run.cached_features", lambda *_, **__: None)
    again = made.model_copy(update={"out": str(tmp_path / "whole")})
    without = train(again, quiet=True)
    assert losses(with_cache.folder) == pytest.approx(losses(without.folder), rel=1e-5)
    assert losses(with_cache.folder)[-1] < losses(with_cache.folder)[0]
    one, other = (
        load_file(r.folder / "model" / "model.safetensors") for r in (with_cache, without)
    )
    torch.testing.assert_close(one["score.weight"], other["score.weight"], rtol=1e-4, atol=1e-6)
    assert all(torch.equal(one[name], other[name]) for name in one if name != "score.weight")


def test_the_trunk_runs_once_and_other_runs_find_what_it_said(
    configure: Configure, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    counts: list[int] = []
    plain = feature_module.fill

    def counted(*args: Any, **kwargs: Any) -> int:
        counts.append(plain(*args, **kwargs))
        return counts[-1]

    monkeypatch.setattr(feature_module, "fill", counted)
    made = configure("reward", head_only=True, training={**SHORT, "max_steps": 12})
    train(made, quiet=True)
    other = made.model_copy(update={"out": str(tmp_path / "two"), "seed": 1})
    other.training["learning_rate"] = 1e-3
    train(other, quiet=True)
    assert counts[0] > 0
    assert counts[1] == 0, "another seed has another head, and the same trunk"


def test_what_has_no_head_is_refused(configure: Configure) -> None:
    with pytest.raises(ConfigError, match="head_only trains a reward model's head"):
        train(configure("dpo", head_only=True), quiet=True)
    with pytest.raises(ConfigError, match="head_only freezes the trunk"):
        train(configure("reward", head_only=True, lora={}), quiet=True)
