"""`prefine config from-trl`."""

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from prefine.cli.main import app

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
