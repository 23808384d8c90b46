"""`prefine train`: one line of JSON on standard output, and misuse said before anything is done."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from prefine import objectives
from prefine.records import load

Call = Callable[..., tuple[int, str, str]]
Numbers = Callable[[dict[str, Any]], dict[str, Any]]

FAST = (
    "--set", "training.use_cpu=true", "--set", "training.per_device_train_batch_size=16",
    "--set", "training.learning_rate=1e-3", "--set", "holdout=0.3",
)  # fmt: skip


def words(home: Path, objective: str, out: Path, *more: str) -> list[str]:
    where = ["--model", str(home / "model"), "--data", str(home / "pairs.jsonl")]
    return ["train", objective, *where, "--out", str(out), *FAST, *more]


def test_reward_ends_with_one_line_and_nothing_else(
    home: Path, tmp_path: Path, numbers: Numbers
) -> None:
    """In a process of its own: no library writes to standard output before or after."""
    command = [sys.executable, "-m", "prefine", *words(home, "reward", tmp_path / "run", "--json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1, done.stdout
    summary = json.loads(done.stdout)
    found = numbers(summary["metrics"])
    assert found.keys() == summary["metrics"].keys()
    assert found.keys() >= {"accuracy", "baseline_longer", "difference_to_longer", "ece", "margin"}
    assert "-q log sigma(r_w - r_l) - (1 - q) log sigma(r_l - r_w)" in summary["formula"]
    assert summary["reference"] == "none"
    rows = summary["rows"]
    assert rows["train"] + rows["held_out"] == 39
    assert found["accuracy"]["n"] == rows["held_out"]
    (reason,) = summary["set_aside"]
    assert "control token" in reason
    assert summary["set_aside"][reason] == 1
    assert (summary["data"]["records"], summary["data"]["rejects"]) == (40, 0)
    assert summary["data"]["fingerprint"] == load(home / "pairs.jsonl").fingerprint
    assert json.loads((tmp_path / "run" / "summary.json").read_text()) == summary


def test_dpo_names_its_reference(
    home: Path, tmp_path: Path, prefine: Call, numbers: Numbers
) -> None:
    code, out, _ = prefine(*words(home, "dpo", tmp_path / "run", "--json"))
    assert code == 0
    summary = json.loads(out)
    assert summary["reference"].startswith(f"initial policy {home / 'model'}, cached, weights ")
    assert summary["reference"].endswith(summary["weights"])
    assert "0.1" in summary["formula"], "with the option's value"
    found = numbers(summary["metrics"])
    assert found.keys() >= {"accuracy", "reward_accuracy", "reference_accuracy", "baseline_longer"}


def test_rows_that_compare_prompts(home: Path, tmp_path: Path, prefine: Call) -> None:
    """Three rows a pair are trained on, and pairs alone are held out."""
    code, out, err = prefine(*words(home, "mapl", tmp_path / "run", "--json"))
    assert code == 0, err
    summary = json.loads(out)
    pairs = 39 - summary["rows"]["held_out"]
    other = summary["rows"]["train"] - 3 * pairs
    assert other in (0, 1), "of the pair with a control token, the other response may be taken"
    assert "best_is_first" in summary["metrics"]
    more = ("--set", "rows.instructions={intra: 0.5}", "--json")
    code, out, err = prefine(*words(home, "reward", tmp_path / "reward", *more))
    assert code == 0, err
    assert json.loads(out)["rows"]["train"] - 2 * pairs in (0, 1)
    code, _, err = prefine(
        *words(home, "dpo", tmp_path / "d", "--set", "rows.instructions={inter: 1}")
    )
    assert (code, "Train margin_dpo" in err) == (2, True)
    code, _, err = prefine(*words(home, "kto", tmp_path / "k", *more))
    assert (code, "rows.instructions shapes pair rows" in err) == (2, True)


def test_a_reward_that_compares_prompts(
    home: Path, tmp_path: Path, prefine: Call, numbers: Numbers
) -> None:
    """Three rows a pair train a reward model, which starts at log 2 and is read as any other."""
    more = ("--set", "training.learning_rate=1e-2", "--set", "training.num_train_epochs=3")
    code, out, err = prefine(*words(home, "mapl-reward", tmp_path / "run", "--json", *more))
    assert code == 0, err
    summary = json.loads(out)
    assert (summary["unit"], summary["reference"]) == ("reward", "none")
    assert summary["rows"]["train"] - 3 * (39 - summary["rows"]["held_out"]) in (0, 1)
    assert numbers(summary["metrics"]).keys() >= {"accuracy", "baseline_longer", "margin", "ece"}
    steps = [json.loads(x) for x in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    losses = [step["loss"] for step in steps if "loss" in step]
    assert losses[-1] < losses[0] < 0.8, "a new head is about even: log 2"
    told = json.loads((tmp_path / "run" / "model" / "preference.json").read_text())
    assert told["scale"] == "prompt"
    code, out, err = prefine(
        "evaluate", "reward", tmp_path / "run" / "model", home / "pairs.jsonl", "--json"
    )
    assert code == 0, err
    assert json.loads(out)["accuracy"]["value"] > 0.8
    code, _, err = prefine(
        *words(home, "mapl-reward", tmp_path / "r", "--set", "rationale.gamma=0.5")
    )
    assert (code, "Choose a pair objective of policies" in err) == (2, True)


def test_people_see_numbers_and_where_to_look(home: Path, tmp_path: Path, prefine: Call) -> None:
    code, out, err = prefine(*words(home, "sft", tmp_path / "run"))
    assert code == 0
    assert "log_prob_per_token" in out.replace(" ", "_")
    assert f"{tmp_path}/run/report.html" in out
    assert "rows        " in err
    assert "⟦" in err, "a sample, with what is scored marked"
    assert "set aside   1: " in err


def test_a_filled_folder_is_refused(home: Path, tmp_path: Path, prefine: Call) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("years of work")
    code, out, err = prefine(*words(home, "reward", tmp_path / "run"))
    assert (code, out) == (1, "")
    assert "not empty" in err
    assert "--resume" in err
    assert (tmp_path / "run" / "thesis.txt").read_text() == "years of work"
    code, _, err = prefine(*words(home, "reward", tmp_path / "run", "--resume"))
    assert code == 1
    assert "no run.yaml" in err


def test_a_corrected_command_may_use_the_same_folder(
    home: Path, tmp_path: Path, prefine: Call
) -> None:
    """Unreadable rows are written down before the mistake is found; they are no run."""
    command = words(home, "dpo", tmp_path / "run", "--json", "--set", "rows.max_rejects=0.1")
    command[command.index("--data") + 1] = str(home / "torn.jsonl")
    code, _, err = prefine(*command, "--set", "max_length=4", "--set", "truncate=error")
    assert code == 1
    assert "max_length is 4" in err
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["rejects.jsonl"]
    code, out, _ = prefine(*command)
    assert code == 0
    assert json.loads(out)["data"]["rejects"] == 1


def test_rejects_of_held_out_data_are_counted(home: Path, tmp_path: Path, prefine: Call) -> None:
    more = ("--eval-data", str(home / "torn.jsonl"), "--set", "rows.max_rejects=0.1", "--json")
    code, out, _ = prefine(*words(home, "simpo", tmp_path / "run", *more))
    assert code == 0
    summary = json.loads(out)
    assert summary["data"]["rejects"] == 1
    assert summary["rows"] == {"train": 39, "held_out": 39}


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--set", "options.betta=1"], r"betta.*beta"),
        (["--set", "options.beta=-1"], "`beta` must be"),
        (["--set", "beta=1"], "beta: there is no such key"),
        (["--set", "training.epochs=1"], r"training\.epochs.*num_train_epochs"),
        (["--set", "seed"], "write KEY=VALUE"),
        (["--set", "model.x=1"], "model is a single value"),
        (["--reference", "none"], "compares the policy with a reference"),
    ],
)
def test_misuse_ends_with_two_and_says_why(
    home: Path, tmp_path: Path, prefine: Call, more: list[str], says: str
) -> None:
    code, out, err = prefine(*words(home, "dpo", tmp_path / "run", *more))
    assert (code, out) == (2, "")
    assert re.search(says, err, re.DOTALL), err
    assert not (tmp_path / "run").exists() or not list((tmp_path / "run").iterdir())


def test_an_unknown_option_names_those_of_the_objective(
    home: Path, tmp_path: Path, prefine: Call
) -> None:
    command = words(home, "simpo", tmp_path / "run", "--set", "options.label_smoothing=0.1")
    code, _, err = prefine(*command)
    assert code == 2
    assert "simpo" in err
    assert "label_smoothing" in err
    assert "beta" in err
    assert "gamma" in err


def test_what_is_missing_is_named(home: Path, prefine: Call) -> None:
    code, _, err = prefine("train", "dpo", "--data", home / "pairs.jsonl", "--out", "run")
    assert code == 2
    assert "model: this is needed. Pass --model" in err


def test_list_shows_every_objective(prefine: Call) -> None:
    code, out, _ = prefine("train", "--list")
    assert code == 0
    assert [name for name in objectives.__all__ if name not in out] == []
    code, out, _ = prefine("train", "dpo", "--list")
    assert code == 0
    assert "log sigma" in out
    assert "0.01 to 0.5" in out, "the usual range of beta"
    assert "Rafailov" in out
    code, out, _ = prefine("train", "dpo", "--list", "--json")
    assert json.loads(out)["name"] == "dpo"
    code, _, err = prefine("train", "dop_o", "--list")
    assert code == 2
    assert "Did you mean" in err
    code, out, _ = prefine("train", "--list", "--json")
    methods = {method["name"]: method for method in json.loads(out)}
    assert methods["dpo"]["data"] == "pair"
    assert methods["dpo"]["reference"] is True
    assert methods["simpo"]["reference"] is False


def test_flags_win_over_the_file(home: Path, tmp_path: Path, prefine: Call) -> None:
    file = tmp_path / "run.yaml"
    settings = {
        "objective": "dpo", "model": str(home / "model"), "data": str(home / "pairs.jsonl"),
        "out": str(tmp_path / "one"), "seed": 1, "options": {"beta": 0.7},
        "lora": {"r": 3, "alpha": 6.0}, "header": {"ignored": True},
    }  # fmt: skip
    file.write_text(yaml.safe_dump(settings))
    more = ("--out", str(tmp_path / "two"), "--seed", "5", "--lora", "--set", "lora.alpha=7")
    code, out, _ = prefine("train", "--config", file, *more, "--dry-run", "--json")
    assert code == 0
    header = json.loads(out)
    assert (header["seed"], "0.7" in header["formula"]) == (5, True)
    trained = {3: header["trainable"]}
    settings["lora"] = {"r": 1}
    file.write_text(yaml.safe_dump(settings))
    _, out, _ = prefine("train", "--config", file, "--dry-run", "--json")
    assert trained[3] == 3 * json.loads(out)["trainable"], "--lora keeps the rank of the file"
    assert not (tmp_path / "two").exists()


def test_a_dry_run_says_what_the_run_will_take(home: Path, tmp_path: Path, prefine: Call) -> None:
    code, out, _ = prefine(*words(home, "dpo", tmp_path / "run", "--dry-run"))
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == [
        "tokens", "products", "time", "memory", "Everything",
    ]  # fmt: skip
    code, out, _ = prefine(*words(home, "reward", tmp_path / "run", "--dry-run", "--json"))
    assert code == 0
    found = json.loads(out)["estimate"]
    assert found["padded_tokens"] > found["tokens"] > 0
    assert found["flops_epoch"] >= found["flops_step"] > 0
    assert found["advice"] == []


@pytest.mark.parametrize(("text", "says"), [("a: [", "not YAML"), ("- a", "keys and values")])
def test_a_file_that_is_no_configuration(
    tmp_path: Path, prefine: Call, text: str, says: str
) -> None:
    (tmp_path / "run.yaml").write_text(text)
    code, _, err = prefine("train", "--config", tmp_path / "run.yaml")
    assert code == 2
    assert says in err


def test_settings_of_the_process_are_said_and_can_be_refused(
    home: Path, tmp_path: Path, prefine: Call
) -> None:
    _, out, _ = prefine(*words(home, "simpo", tmp_path / "tuned", "--json"))
    assert ("tuned" in json.loads(out)["notes"]) is not torch.accelerator.is_available()
    _, out, _ = prefine(*words(home, "simpo", tmp_path / "plain", "--json", "--no-tune"))
    assert "tuned" not in json.loads(out)["notes"]
