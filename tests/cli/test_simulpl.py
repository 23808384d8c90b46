"""`prefine train simulpl`: from pairs of translations to a translator that waits less."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prefine.models import load_policy, load_tokenizer
from prefine.training.streaming import add_read, make_room

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    rows = [{"prompt": f"a{n} b c", "chosen": f"A{n} B C", "rejected": "C B"} for n in range(16)]
    path = tmp_path / "pairs.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


@pytest.fixture
def streams(pairs: Path, prefine: Call) -> str:
    code, out, err = prefine("curate", "streams", pairs, "--out", "s.jsonl", "--set", "wait=1")
    assert code == 0, err
    assert "16 records of 16" in out
    return "s.jsonl"


def words(objective: str, model: Any, data: Any, out: str, *more: str) -> list[str]:
    return [
        "train", objective, "--model", str(model), "--data", str(data), "--out", out,
        "--set", "training.use_cpu=true", "--set", "training.learning_rate=1e-2",
        "--set", "training.per_device_train_batch_size=8", "--set", "training.warmup_steps=0",
        "--set", "training.num_train_epochs=4", "--set", "holdout=0.25", *more,
    ]  # fmt: skip


def steps(run: str) -> list[dict[str, Any]]:
    lines = Path(run, "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [row for row in map(json.loads, lines) if "loss" in row]


def test_both_stages(home: Path, streams: str, prefine: Call, undrawn: None) -> None:
    sft = words("sft", home / "model", streams, "sft", "--set", "streaming.read=<read>", "--json")
    code, out, err = prefine(*sft)
    assert code == 0, err
    assert any("<read> is a new token" in note for note in json.loads(out)["notes"])
    tokenizer, model = load_tokenizer("sft/model"), load_policy("sft/model")
    assert tokenizer.convert_tokens_to_ids("<read>") == 260
    assert model.lm_head.weight.shape[0] == 261
    assert steps("sft")[-1]["loss"] < steps("sft")[0]["loss"]

    paid = ("--set", "options.delay_weight=100", "--json")
    code, out, err = prefine(*words("simulpl", "sft/model", streams, "simul", *paid))
    assert code == 0, err
    summary = json.loads(out)
    assert summary["adapter"]["adapter"] == "simultaneous_lm"
    assert "100 delay" in summary["formula"]
    assert "reward_accuracy" in summary["metrics"]
    first, last = steps("simul")[0], steps("simul")[-1]
    assert first["log_ratio/chosen"] == 0.0
    # The metric pools the tokens of both responses, the loss takes each by itself.
    assert first["loss"] == pytest.approx(0.6931 + 100 * first["delay"], rel=0.05)
    assert 0 < last["delay"] < first["delay"]


def test_a_run_goes_on_where_it_was_cut_off(
    home: Path, streams: str, prefine: Call, undrawn: None
) -> None:
    """Also with a token that the model on disk does not have."""
    more = ("--set", "streaming.read=<read>", "--set", "training.save_strategy=steps",
            "--set", "training.save_steps=2", "--json")  # fmt: skip
    assert prefine(*words("sft", home / "model", streams, "whole", *more))[0] == 0
    assert prefine(*words("sft", home / "model", streams, "cut", *more))[0] == 0
    import shutil

    shutil.rmtree("cut/model")
    kept = sorted(Path("cut/checkpoints").iterdir())
    shutil.rmtree(kept[-1])
    code, _, err = prefine(*words("sft", home / "model", streams, "cut", *more, "--resume"))
    assert code == 0, err
    weights = [Path(run, "model", "model.safetensors").read_bytes() for run in ("whole", "cut")]
    assert weights[0] == weights[1]


def test_adapters_may_learn_the_second_stage_and_a_cache_may_not(
    home: Path, streams: str, prefine: Call, undrawn: None
) -> None:
    """On a token that the tokenizer has, which sft then does not add."""
    tokenizer, model = load_tokenizer(str(home / "model")), load_policy(str(home / "model"))
    add_read(tokenizer, "<read>")
    make_room(model, tokenizer)
    model.save_pretrained("reads")
    tokenizer.save_pretrained("reads")
    more = ("--set", "layout=padded", "--set", "token_budget=100", "--json")
    code, out, err = prefine(*words("simulpl", "reads", streams, "lora", "--lora", *more))
    assert code == 0, err
    assert "adapter_off" in json.loads(out)["reference"]
    code, _, err = prefine(*words("simulpl", "reads", streams, "cached", "--reference", "cached"))
    assert (code, "reads the reference token by token" in err) == (2, True)
    run = words("sft", "reads", streams, "sft", "--lora", "--set", "streaming.read=<read>")
    code, out, err = prefine(*run, "--dry-run", "--json")
    assert code == 0, err
    assert not [note for note in json.loads(out)["notes"] if "new token" in note]


def test_dpo_may_learn_from_whole_trajectories(
    home: Path, streams: str, prefine: Call, undrawn: None
) -> None:
    code, _, err = prefine(
        *words("dpo", home / "model", streams, "dpo", "--set", "streaming.read=<read>")
    )
    assert code == 2, "the token is not learnt yet"
    assert "prefine train sft --set streaming.read=<read>" in err


def test_plain_pairs_are_no_trajectories(
    home: Path, pairs: Path, prefine: Call, undrawn: None
) -> None:
    run = words("sft", home / "model", pairs, "sft", "--set", "streaming.read=<read>")
    code, _, err = prefine(*run)
    assert code == 1
    assert "nothing is read: no trajectory (see prefine curate streams)" in err


def test_lora_cannot_learn_a_new_token(home: Path, streams: str, prefine: Call) -> None:
    run = words("sft", home / "model", streams, "sft", "--set", "streaming.read=<read>", "--lora")
    code, _, err = prefine(*run)
    assert code == 2
    assert "adapters can neither learn nor save its row" in err


def test_the_preset_is_listed(prefine: Call) -> None:
    code, out, _ = prefine("train", "simulpl", "--list")
    assert (code, "streaming.read=<read>" in out, "train simul_dpo" in out) == (0, True, True)


def test_latency_of_records(streams: str, prefine: Call) -> None:
    code, out, err = prefine("evaluate", "latency", streams, "--json")
    assert code == 0, err
    found = json.loads(out)
    # wait-1: "A B C" lags 1; "C B" is written at 1 and 2 of 3: (1 + (2 - 1.5)) / 2
    assert found["average_lagging"]["value"] == pytest.approx((1 + 0.75) / 2)
    assert (found["trajectories"], found["average_lagging"]["n_clusters"]) == (32, 16)
    code, out, _ = prefine("evaluate", "latency", streams)
    assert (code, "average_proportion" in out) == (0, True)


def test_a_model_that_learnt_wait_1_lags_one_word(
    home: Path, streams: str, prefine: Call, undrawn: None
) -> None:
    run = words("sft", home / "model", streams, "sft", "--set", "streaming.read=<read>", "--json")
    assert prefine(*run, "--set", "training.num_train_epochs=40")[0] == 0
    told = ("evaluate", "latency", streams, "--model", "sft/model", "--max-new-tokens", 30,
            "--samples", 6, "--json")  # fmt: skip
    code, out, err = prefine(*told, "--out", "own.jsonl")
    assert code == 0, err
    found = json.loads(out)
    assert (found["model"], found["sources"]) == ("sft/model", found["trajectories"])
    assert found["average_lagging"]["value"] < 1.5
    code, out, _ = prefine("evaluate", "latency", "own.jsonl", "--json")
    assert json.loads(out)["average_lagging"] == found["average_lagging"]
    code, _, err = prefine(*told, "--threshold", "0.999999")
    assert code == 1, "it reads no more than it must, and so comes to no end"
    assert "cut after 30 tokens (6)" in err, (
        "as many sources as asked for, whatever becomes of them"
    )
    assert "Raise --max-new-tokens" in err


def test_latency_misuse(home: Path, streams: str, pairs: Path, prefine: Call) -> None:
    code, _, err = prefine("evaluate", "latency", pairs)
    assert (code, "there is no trajectory (nothing is read" in err) == (1, True)
    code, _, err = prefine("evaluate", "latency", streams, "--samples", 3)
    assert (code, "name one, --model" in err) == (2, True)
    code, _, err = prefine(
        "evaluate", "latency", streams, "--threshold", 0.2, "--max-new-tokens", 9
    )
    assert (code, "--threshold, --max-new-tokens: for translations of a model" in err) == (2, True)
    code, _, err = prefine("evaluate", "latency", streams, "--unit", "line")
    assert (code, "--unit must be word or character" in err) == (2, True)
    code, _, err = prefine("evaluate", "latency", streams, "--model", home / "model")
    assert (code, "no such token" in err) == (2, True)
    code, _, err = prefine(
        "evaluate", "latency", streams, "--model", home / "model", "--out", streams
    )
    assert (code, "is there already" in err) == (2, True)
