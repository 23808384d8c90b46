"""`prefine config from-trl`."""

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from prefine.cli.main import app
from prefine.cli.train import read_yaml
from prefine.errors import ConfigError
from prefine.training.from_trl import translate

TRL = """
model_name_or_path: org/model
dataset_name: org/data
output_dir: out/dpo
loss_type: ipo
beta: 0.05
trust_remote_code: true
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "trl.yaml"
    path.write_text(TRL)
    return path


def test_a_configuration_becomes_a_run_yaml(file: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["config", "from-trl", str(file), "--method", "dpo"])
    assert done.exit_code == 0
    assert yaml.safe_load(done.stdout) == {
        "objective": "ipo",
        "options": {"tau": 0.05},
        "model": "org/model",
        "data": "org/data",
        "out": "out/dpo",
        "training": {"num_train_epochs": 3, "warmup_steps": 0, "learning_rate": 1e-6},
    }
    assert "trust_remote_code: prefine never runs code that comes with a model" in done.stderr
    out = tmp_path / "run.yaml"
    words = ["config", "from-trl", str(file), "--method", "dpo", "--out", str(out)]
    assert CliRunner().invoke(app, words).exit_code == 0
    assert yaml.safe_load(out.read_text())["objective"] == "ipo"
    again = CliRunner().invoke(app, words)
    assert again.exit_code == 2
    assert "exists already" in again.stderr


def test_json_holds_the_notes(file: Path) -> None:
    done = CliRunner().invoke(app, ["config", "from-trl", str(file), "--method", "dpo", "--json"])
    found = json.loads(done.stdout)
    assert found["config"]["objective"] == "ipo"
    assert list(found["notes"]) == ["trust_remote_code"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"beta: \xd2", "this is not text in UTF-8"),
        (b"beta: [", "this is not YAML"),
        (b"warmup_steps: 2020-13-45", "this is not YAML"),
        (b"seed: 0x_", "this is not YAML"),
        (b"seed: !!timestamp x", "this is not YAML"),
        (b"seed: " + b"[" * 5_000, "this is not YAML"),
        (b"seed: &x [*x]", "this is no configuration"),
        (b"2020-01-01: x", "this is no configuration"),
        (b"[1]", "a configuration holds keys and values"),
        (b"loss_type:", "loss_type must be a name or a list of names, got None"),
        (b"loss_type: [sft: 1, sigmoid]", "loss_type must be a name or a list of names"),
    ],
)
def test_what_is_no_configuration_is_named(tmp_path: Path, content: bytes, why: str) -> None:
    """Inputs of which a fuzzer made tracebacks."""
    path = tmp_path / "trl.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=why):
        translate(read_yaml(path), "dpo")
