"""Adapters add up: what is tried on a memory is what is written, and what peft loads."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from prefine.adapters import CausalLM
from prefine.cli.main import app
from prefine.errors import ConfigError, RunFolderError
from prefine.models import load_policy, load_tokenizer, score_rows
from prefine.models.combine import Mixture, adapters_of, combine_adapters
from prefine.recipes.combination import choose_shares, combine
from prefine.records import load

Run = Callable[..., Path]
LORA = {"r": 2, "alpha": 8}


@pytest.fixture(scope="module")
def adapters(finished: Run) -> list[str]:
    """Two runs on one base, of different ranks and strengths."""
    first = finished("dpo", lora=LORA)
    second = finished("dpo", lora={"r": 3, "alpha": 4}, options={"beta": 0.5})
    return [str(first), str(second)]


def updates(folder: str | Path, base: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    merged = load_policy(str(folder)).state_dict()
    return {name: merged[name] - base[name] for name in base}


def test_the_change_of_every_weight_is_the_weighted_sum(
    adapters: list[str], start: Path, tmp_path: Path
) -> None:
    base = load_policy(str(start / "model")).state_dict()
    written = combine_adapters(adapters, [0.3, 0.7], tmp_path / "out")
    one, two = (updates(Path(name) / "model", base) for name in adapters)
    found = updates(tmp_path / "out", base)
    assert max(float(change.abs().max()) for change in one.values()) > 1e-3
    for name, change in found.items():
        torch.testing.assert_close(change, 0.3 * one[name] + 0.7 * two[name], atol=1e-6, rtol=1e-4)
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text("utf-8"))
    assert (config["r"], config["lora_alpha"]) == (5, 5)
    assert written.kind == "adapters of a policy"
    assert "0.3 of" in (tmp_path / "out" / "README.md").read_text("utf-8")


def test_what_is_tried_is_what_is_written(adapters: list[str], start: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(str(start / "model"))
    adapter = CausalLM(tokenizer)
    rows = adapter.prepare(load(start / "pairs.jsonl").pairs()).dataset[:4]
    mixture = Mixture(adapters_of(adapters))
    tried = score_rows(rows, mixture.share([0.25, 0.75]), adapter)
    combine_adapters(adapters, [0.25, 0.75], tmp_path / "out")
    written = score_rows(rows, load_policy(str(tmp_path / "out")), adapter)
    torch.testing.assert_close(torch.tensor(tried), torch.tensor(written), atol=1e-3, rtol=1e-5)
    with mixture.base() as base:
        plain = score_rows(rows, base, adapter)
    alone = score_rows(rows, load_policy(str(start / "model")), adapter)
    torch.testing.assert_close(torch.tensor(plain), torch.tensor(alone), atol=1e-4, rtol=1e-5)


def test_from_the_command_line(adapters: list[str], start: Path, tmp_path: Path) -> None:
    words = ["combine", *adapters, "--data", str(start / "pairs.jsonl"), "--out"]
    done = CliRunner().invoke(app, [*words, str(tmp_path / "out"), "--parts", "4", "--json"])
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert sum(said["shares"]) == pytest.approx(1.0)
    assert said["loss"] <= min(said["alone"])
    assert (tmp_path / "out" / "adapter_model.safetensors").is_file()
    done = CliRunner().invoke(app, [*words, str(tmp_path / "more"), "--parts", "2"])
    assert done.exit_code == 0, done.output
    assert "on the memory, combined" in done.stdout


def test_adapters_that_do_not_add_up(
    adapters: list[str], finished: Run, start: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="two adapters or more, got 1"):
        adapters_of(adapters[:1])
    with pytest.raises(ConfigError, match="named twice"):
        adapters_of([adapters[0], f"{adapters[0]}/model"])
    with pytest.raises(ConfigError, match="holds the policy"):
        adapters_of([adapters[0], str(finished("dpo"))])
    with pytest.raises(ConfigError, match="adapters of a reward model"):
        adapters_of([adapters[0], str(finished("reward", lora=LORA))])
    other = finished("dpo", lora={**LORA, "target_modules": ["q_proj"]})
    with pytest.raises(ConfigError, match="differ in target_modules"):
        adapters_of([adapters[0], str(other)])
    with pytest.raises(ConfigError, match="as many finite shares"):
        combine_adapters(adapters, [1.0], tmp_path / "out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(RunFolderError, match="not empty"):
        combine(adapters, load(start / "pairs.jsonl"), tmp_path / "full")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("use_dora", True, "use_dora is True"),
        ("alpha_pattern", {"q_proj": 1}, "alpha_pattern"),
        ("base_model_name_or_path", "org/other", "on org/other"),
    ],
)
def test_adapters_that_are_no_plain_sum(
    adapters: list[str], tmp_path: Path, key: str, value: Any, message: str
) -> None:
    import shutil

    shutil.copytree(Path(adapters[1]) / "model", tmp_path / "odd")
    path = tmp_path / "odd" / "adapter_config.json"
    config = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps({**config, key: value}), encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        adapters_of([adapters[0], str(tmp_path / "odd")])


def test_shares_of_three() -> None:
    found = choose_shares(
        lambda shares: (shares[0] - 0.5) ** 2 + (shares[1] - 0.25) ** 2, 3, parts=4
    )
    assert found.shares == (0.5, 0.25, 0.25)
    assert len(found.tried) == 15  # places of two bars among six
    assert found.alone == pytest.approx([0.25 + 0.0625, 0.25 + 0.5625, 0.25 + 0.0625])


def test_a_grid_that_makes_no_sense() -> None:
    with pytest.raises(ConfigError, match="two adapters or more"):
        choose_shares(lambda _: 0.0, 1)
    with pytest.raises(ConfigError, match="Take fewer parts"):
        choose_shares(lambda _: 0.0, 8, parts=20)
