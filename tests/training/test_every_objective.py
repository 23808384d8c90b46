"""Every registered objective takes steps, from a configuration, on the data it asks for."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prefine.errors import ConfigError, ObjectiveError
from prefine.objectives.declare import spec
from prefine.objectives.registry import build, names
from prefine.training.config import parse
from prefine.training.run import train


def ranked(n: int) -> dict[str, Any]:
    """A record whose three responses are ranked by one person."""
    shown = ["c0", "c1", "c2"]
    return {
        "schema": "prefine/1",
        "context": [{"role": "user", "content": f"count {n}"}],
        "candidates": [
            {"id": name, "messages": [{"role": "assistant", "content": "a" * (k + n % 3 + 1)}]}
            for k, name in enumerate(shown)
        ],
        "judgments": [
            {
                "id": "j0",
                "kind": "rank",
                "shown": shown,
                "aspect": "overall",
                "rater": {"id": "r", "type": "human"},
                "ranks": {name: k + 1 for k, name in enumerate(shown)},
            }
        ],
    }


def liked(n: int) -> dict[str, Any]:
    return {
        "prompt": [{"role": "user", "content": f"say {n}"}],
        "completion": [{"role": "assistant", "content": "yes " * (n % 3 + 1)}],
        "label": n % 2 == 0,
    }


@pytest.fixture(scope="module")
def home(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_llama: Callable[..., Any],
    tiny_tokenizer: Any,
) -> Path:
    folder = tmp_path_factory.mktemp("every")
    tiny_llama().save_pretrained(folder / "model")
    tiny_tokenizer.save_pretrained(folder / "model")
    for kind, row in (("pair", ranked), ("list", ranked), ("point", liked)):
        lines = "\n".join(json.dumps(row(n)) for n in range(12))
        (folder / f"{kind}.jsonl").write_text(lines)
    return folder


def two_steps(
    home: Path, out: Path, objective: str, kind: str, *, save: bool = False, **more: Any
) -> list[Any]:
    config = {
        "objective": objective, "model": str(home / "model"), "out": str(out), "holdout": 0,
        "data": str(home / f"{kind}.jsonl"),
        "training": {
            "use_cpu": True, "max_steps": 2, "per_device_train_batch_size": 3,
            "gradient_accumulation_steps": 2, "learning_rate": 1e-3,
            "save_strategy": "steps" if save else "no",
            "warmup_steps": 0,
        },
        **more,
    }  # fmt: skip
    train(parse(config), quiet=True)
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [row for row in rows if "loss" in row]


OF_PICTURES = [name for name in names() if "error" in spec(build(name)).needs.elements]

OF_STREAMS = [name for name in names() if "delay" in spec(build(name)).needs.elements]
"""Trained in `tests/cli/test_simulpl.py`, on trajectories."""


@pytest.mark.parametrize("name", sorted({*names()} - {*OF_PICTURES, *OF_STREAMS}))
def test_two_steps(home: Path, tmp_path: Path, name: str) -> None:
    steps = two_steps(home, tmp_path / "run", name, spec(build(name)).data)
    assert len(steps) == 2
    assert all(math.isfinite(step["loss"]) for step in steps)
    assert all(step["grad_norm"] > 0 for step in steps)


@pytest.mark.parametrize("name", OF_PICTURES)
def test_errors_are_not_asked_of_a_language_model(home: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(ObjectiveError, match="reads error of every response"):
        two_steps(home, tmp_path / "run", name, spec(build(name)).data)


def test_an_objective_of_rewards_from_elsewhere_trains_a_reward_model(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "from prefine.objectives import bradley_terry\n"
    code += "from prefine.objectives.combine import over_pairs\n"
    (tmp_path / "ranked_rewards.py").write_text(code + "ranked = over_pairs(bradley_terry)\n")
    monkeypatch.syspath_prepend(tmp_path)
    steps = two_steps(home, tmp_path / "run", "ranked_rewards:ranked", "list", holdout=0.4)
    assert all(math.isfinite(step["loss"]) for step in steps)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["unit"] == "reward"
    assert summary["metrics"].keys() == {"best_is_first"}, "a reward is no likelihood"


@pytest.mark.parametrize("name", OF_STREAMS)
def test_actions_are_not_asked_of_plain_texts(home: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"Set streaming\.read"):
        two_steps(home, tmp_path / "run", name, "pair")


@pytest.mark.parametrize(("name", "kind"), [("bco", "point"), ("alpha_dpo", "pair")])
def test_a_carried_statistic_moves(home: Path, tmp_path: Path, name: str, kind: str) -> None:
    """From the second step on rewards differ from 0, and the statistic with them."""
    two_steps(home, tmp_path / "run", name, kind, save=True)
    (state,) = json.loads(
        (tmp_path / "run" / "checkpoints" / "checkpoint-2" / "objective_state.json").read_text()
    )
    assert all(value != 0 for value in state.values()), state


@pytest.mark.parametrize("reference", ["module", "adapter_off"])
def test_tokens_of_the_reference(home: Path, tmp_path: Path, reference: str) -> None:
    """Before the first step nothing has drifted, so token-level DPO starts at log 2."""
    more: dict[str, Any] = {"reference": reference}
    if reference == "adapter_off":
        more["lora"] = {"r": 2}
    first, second = two_steps(home, tmp_path / "run", "tdpo1", "pair", **more)
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert second["loss"] != first["loss"]


def test_a_cache_holds_no_tokens(home: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="reference=cached holds one number per response"):
        two_steps(home, tmp_path / "run", "ld_dpo", "pair", reference="cached")
