"""One run from configuration to folder: what it writes, and what it refuses."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from prefine.errors import ConfigError, ObjectiveError, RecordError, ReferenceMismatch
from prefine.training.config import parse
from prefine.training.dry_run import dry_run
from prefine.training.run import train


@pytest.fixture(scope="module")
def home(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_llama: Callable[..., Any],
    tiny_tokenizer: Any,
) -> Path:
    folder = tmp_path_factory.mktemp("run")
    tiny_llama().save_pretrained(folder / "model")
    tiny_tokenizer.save_pretrained(folder / "model")
    write(folder / "pairs.jsonl", [pair(n) for n in range(40)])
    return folder


def pair(n: int, **more: Any) -> dict[str, Any]:
    return {
        "prompt": [{"role": "user", "content": f"say {n}"}],
        "chosen": [{"role": "assistant", "content": "yes " * (n % 3 + 1)}],
        "rejected": [{"role": "assistant", "content": "no " * (n % 4 + 1)}],
        **more,
    }


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return str(path)


def config(home: Path, out: Path, objective: str = "dpo", **more: Any) -> Any:
    training = {"use_cpu": True, "learning_rate": 1e-2, **more.pop("training", {})}
    values = {
        "objective": objective, "model": str(home / "model"), "data": str(home / "pairs.jsonl"),
        "out": str(out), "training": training, **more,
    }  # fmt: skip
    return parse(values)


def test_a_run_leaves_what_is_needed_to_use_repeat_and_judge_it(home: Path, tmp_path: Path) -> None:
    summary = train(config(home, tmp_path / "run"), quiet=True).summary
    assert {p.name for p in (tmp_path / "run").iterdir()} >= {
        "run.yaml", "metrics.jsonl", "summary.json", "report.html", "model", "checkpoints",
    }  # fmt: skip
    assert summary["formula"].startswith("-q log sigma(u)")
    assert "initial policy" in summary["reference"]
    accuracy = summary["metrics"]["reward_accuracy"]
    assert accuracy["low"] <= accuracy["value"] <= accuracy["high"]
    assert not [p for p in (tmp_path / "run" / "model").iterdir() if p.suffix in (".bin", ".pt")]
    card = (tmp_path / "run" / "model" / "README.md").read_text()
    assert summary["formula"] in card
    assert str(home) not in card, "a card leaves this machine, its paths do not"
    from transformers import AutoModelForCausalLM, AutoTokenizer

    AutoModelForCausalLM.from_pretrained(tmp_path / "run" / "model")
    AutoTokenizer.from_pretrained(tmp_path / "run" / "model")


def test_a_run_on_whatever_machine_gives_no_warning(home: Path, tmp_path: Path) -> None:
    """Pytest turns warnings into errors; other tests ask for the CPU, which hides one of torch."""
    train(config(home, tmp_path / "run", training={"use_cpu": False, "max_steps": 1}), quiet=True)


def test_a_run_can_be_repeated_from_its_own_file(home: Path, tmp_path: Path) -> None:
    train(config(home, tmp_path / "one", seed=3), quiet=True)
    values = yaml.safe_load((tmp_path / "one" / "run.yaml").read_text())
    values.pop("header")
    train(parse({**values, "out": str(tmp_path / "two")}), quiet=True)
    one, two = ((tmp_path / name / "metrics.jsonl").read_bytes() for name in ("one", "two"))
    assert one == two


@pytest.mark.parametrize(
    ("objective", "more"),
    [
        ("reward", {}),
        ("sft", {}),
        ("simpo", {}),
        ("kto", {}),
        ("aot", {}),
        ("ipo", {"options": {"average": False}}),
        ("dpo", {"reference": "module"}),
        ("dpo", {"lora": {"r": 2}, "reference": "adapter_off"}),
        ("reward", {"lora": {"r": 2}}),
        ("robust_em", {"options": {"loss": "dpo"}}),
    ],
    ids=lambda v: v if isinstance(v, str) else "-".join(v) or "plain",
)
def test_every_objective_trains(
    home: Path, tmp_path: Path, objective: str, more: dict[str, Any]
) -> None:
    summary = train(config(home, tmp_path / "run", objective, **more), quiet=True).summary
    assert summary["steps"] > 0
    losses = [
        json.loads(line)["loss"]
        for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
        if "loss" in json.loads(line)
    ]
    assert losses[-1] < losses[0]


def test_lists_train_plackett_luce(home: Path, tmp_path: Path) -> None:
    rows = [
        {
            "schema": "prefine/1",
            "context": [{"role": "user", "content": f"count {n}"}],
            "candidates": [
                {"id": f"c{k}", "messages": [{"role": "assistant", "content": "a" * (k + 1)}]}
                for k in range(2 + n % 3)
            ],
            "judgments": [
                {
                    "id": "j0", "kind": "rank", "shown": [f"c{k}" for k in range(2 + n % 3)],
                    "aspect": "overall", "rater": {"id": "r", "type": "human"},
                    "ranks": {f"c{k}": k + 1 for k in range(2 + n % 3)},
                }
            ],
        }
        for n in range(30)
    ]  # fmt: skip
    data = write(tmp_path / "lists.jsonl", rows)
    summary = train(config(home, tmp_path / "run", "plackett_luce", data=data), quiet=True).summary
    assert summary["metrics"]["best_is_first"]["n"] == summary["rows"]["held_out"]


def test_what_people_said_is_never_dropped_in_silence(home: Path, tmp_path: Path) -> None:
    data = write(tmp_path / "margin.jsonl", [pair(n, margin=1.0 + n) for n in range(20)])
    with pytest.raises(ObjectiveError, match=r"carries `margin`.*rows\.ignore"):
        train(config(home, tmp_path / "no", data=data), quiet=True)
    train(config(home, tmp_path / "yes", data=data, rows={"ignore": ["margin"]}), quiet=True)
    reads = {"options": {"margin": "subtract"}}
    train(config(home, tmp_path / "reads", "reward", data=data, **reads), quiet=True)


def test_weights_reach_the_loss(home: Path, tmp_path: Path) -> None:
    """Rows of weight 0 leave no trace: the same parameters as without them."""
    rows = [pair(n, weight=float(n % 2)) for n in range(16)]
    both = write(tmp_path / "both.jsonl", rows)
    half = write(tmp_path / "half.jsonl", rows[1::2])
    order = {"train_sampling_strategy": "sequential", "lr_scheduler_type": "constant",
             "warmup_steps": 0, "per_device_train_batch_size": 16}  # fmt: skip
    for name, data in (("both", both), ("half", half)):
        run = config(home, tmp_path / name, "simpo", data=data, holdout=0, dtype="float64",
                     training=order)  # fmt: skip
        train(run, quiet=True)
    from safetensors.torch import load_file

    one, two = (load_file(tmp_path / n / "model" / "model.safetensors") for n in ("both", "half"))
    assert all(torch.allclose(one[k], two[k], rtol=0, atol=1e-12) for k in one)


def test_a_reference_that_is_not_the_policy_stops_the_run(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefine.training import reference

    def other(model: Any) -> Any:
        if not isinstance(model, torch.nn.Module):
            return model
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
        return model

    plain = reference.copy.deepcopy
    monkeypatch.setattr(reference.copy, "deepcopy", lambda model, *memo: other(plain(model, *memo)))
    with pytest.raises(ReferenceMismatch, match="step 0"):
        train(config(home, tmp_path / "run", reference="module"), quiet=True)


@pytest.mark.parametrize(
    ("objective", "more", "says"),
    [
        ("simpo", {"reference": "module"}, "uses no reference"),
        ("dpo", {"reference": "none"}, "with a reference"),
        ("dpo", {"reference": "adapter_off"}, "needs a LoRA model"),
        ("dpo", {"options": {"betta": 1}}, "beta"),
        ("dpo", {"options": {"beta": -1.0}}, "must be"),
        ("dpoo", {}, "dpo"),
        ("dpo", {"training": {"warmup_ratio": 0.1}}, "warmup_steps"),
        ("dpo", {"training": {"learning_rat": 0.1}}, "learning_rate"),
        ("dpo", {"training": {"seed": 1}}, "set seed"),
        ("dpo", {"training": {"save_strategy": "never"}}, "transformers refuses.*never"),
        ("dpo", {"dtype": "int8"}, "dtype"),
        ("dpo", {"lora": {"rank": 2}}, "lora.rank"),
        ("dpo", {"model": "no/such/folder"}, "no such folder"),
    ],
    ids=lambda v: v if isinstance(v, str) else None,
)
def test_misuse_is_named(
    home: Path, tmp_path: Path, objective: str, more: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        train(config(home, tmp_path / "run", objective, **more), quiet=True)


def test_pairs_do_not_train_a_list_objective(home: Path, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="try dpo"):
        train(config(home, tmp_path / "run", "plackett_luce"), quiet=True)


@pytest.mark.parametrize(
    ("training", "says"),
    [
        ({"max_steps": 1}, "stayed at 0, and nothing was learnt"),
        ({"max_steps": 2, "warmup_steps": 3}, "never reached its value"),
        ({"max_steps": 1, "warmup_steps": 0}, None),
        ({"max_steps": 1, "lr_scheduler_type": "constant"}, None),
        ({"max_steps": 2}, None),
    ],
)
def test_a_run_that_is_all_warm_up_says_so(
    training: dict[str, Any], says: str | None, home: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    result = train(config(home, tmp_path / "run", training=training), quiet=True)
    said = [note for note in result.summary["notes"] if "warm-up took all" in note]
    assert len(said) == (says is not None)
    assert ("warm-up took all" in capsys.readouterr().err) == (says is not None)
    if says is not None:
        assert says in said[0]
    start = load_file(home / "model" / "model.safetensors")
    found = load_file(result.folder / "model" / "model.safetensors")
    moved = any(not found[name].equal(start[name]) for name in found)
    assert moved == (says is None or "never" in says)


def test_a_dry_run_checks_everything_and_leaves_nothing(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    header = dry_run(config(home, tmp_path / "run"))
    assert header["rows"]["train"] > 0
    assert "⟦" in capsys.readouterr().err
    assert header["reference"] == "auto, chosen when it trains"
    assert not (tmp_path / "run").exists()
