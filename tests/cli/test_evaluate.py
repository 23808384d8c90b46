"""`prefine evaluate`: numbers with intervals, what was set aside, and models that do not fit."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from prefine.models import load_policy, load_reward_model, load_tokenizer

Call = Callable[..., tuple[int, str, str]]
Numbers = Callable[[dict[str, Any]], dict[str, Any]]


@pytest.fixture(scope="module")
def reward(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reward model: the tiny language model with a head that is not the same every time."""
    folder = tmp_path_factory.mktemp("reward")
    tokenizer = load_tokenizer(str(home / "model"))
    torch.manual_seed(0)
    load_reward_model(str(home / "model"), tokenizer=tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_reward_prints_accuracy_calibration_and_baselines(
    home: Path, reward: Path, prefine: Call, numbers: Numbers
) -> None:
    code, out, _ = prefine("evaluate", "reward", reward, home / "pairs.jsonl", "--json")
    assert code == 0
    assert out.count("\n") == 1
    report = json.loads(out)
    found = numbers(report)
    assert found.keys() >= {
        "accuracy", "accuracy_strict", "baseline_longer", "difference_to_longer",
        "length_correlation", "ece", "brier", "margin", "scored", "gold_ties",
    }  # fmt: skip
    assert (report["rows"], report["rejects"]) == (39, 0)
    assert found["accuracy"]["n"] == 39
    assert list(report["set_aside"].values()) == [1]
    # "yes " * (n % 3 + 1) is longer than "no " * (n % 4 + 1) in 20 pairs and as long in 3
    longer = sum(
        (4 * (n % 3 + 1) > 3 * (n % 4 + 1)) + 0.5 * (4 * (n % 3 + 1) == 3 * (n % 4 + 1))
        for n in range(40)
        if n != 7
    )
    assert found["baseline_longer"]["value"] == pytest.approx(longer / 39)


def test_scaffolding_compares_tokens(
    home: Path, tmp_path: Path, prefine: Call, numbers: Numbers
) -> None:
    """From a solution in steps to the number, by the commands that a user has."""
    solved = {
        "schema": "prefine/1", "id": "", "source": {"name": "s", "row": 0}, "judgments": [],
        "context": [{"role": "user", "content": "(2 + 2) x 3?"}],
        "candidates": [{
            "id": "c0", "messages": [{"role": "assistant", "content": "12"}],
            "steps": [{"text": "2 + 2 is 4."}, {"text": "4 times 3 is 12."}],
        }],
    }  # fmt: skip
    (tmp_path / "solved.jsonl").write_text(json.dumps(solved))
    code, _, err = prefine("curate", "tutor", "solved.jsonl", "--out", "tutor.jsonl")
    assert code == 0, err
    code, out, err = prefine("evaluate", "scaffolding", home / "model", "tutor.jsonl", "--json")
    assert code == 0, err
    report = json.loads(out)
    found = numbers(report)
    assert report["rows"] == 2
    assert 0 <= found["hint_rate"]["value"] <= 1
    assert found["hint_gap"]["n"] == 2
    assert found["action_scored"]["value"] == 1.0
    assert found["action_accuracy"]["value"] in (0.0, 0.5, 1.0)
    assert 0 <= found["action_f1"]["value"] <= 1
    lines = (tmp_path / "tutor.jsonl").read_text(encoding="utf-8").splitlines()
    unlabelled = [json.loads(line) for line in lines]
    for record in unlabelled:
        record["judgments"] = [j for j in record["judgments"] if j["kind"] == "pair"]
    (tmp_path / "plain.jsonl").write_text("\n".join(map(json.dumps, unlabelled)))
    code, out, err = prefine("evaluate", "scaffolding", home / "model", "plain.jsonl", "--json")
    assert code == 0, err
    assert json.loads(out)["hint_rate"] == report["hint_rate"]
    assert not any(name.startswith("action") for name in json.loads(out))


def test_ranking_prints_both_accuracies(home: Path, prefine: Call, numbers: Numbers) -> None:
    model, data = home / "model", home / "pairs.jsonl"
    code, out, _ = prefine("evaluate", "ranking", model, data, "--reference", model, "--json")
    assert code == 0
    report = json.loads(out)
    found = numbers(report)
    assert found["accuracy"] == found["reference_accuracy"]
    assert found["reward_accuracy"]["value"] == 0.5, "a policy has not moved from itself"
    assert found["difference_to_reference"]["value"] == 0.0
    assert found.keys() >= {"accuracy_normalised", "baseline_longer", "margin"}
    code, out, _ = prefine("evaluate", "ranking", model, data, "--json")
    assert "reward_accuracy" not in json.loads(out)
    strong = ("evaluate", "ranking", model, data, "--beta", "1e-6", "--json")
    code, out, _ = prefine(*strong, "--reference", model)
    assert numbers(json.loads(out))["idealised_accuracy"]["value"] == 1.0
    code, _, err = prefine(*strong)
    assert code == 2
    assert "--beta says what a reference allows" in err


def test_people_see_a_table_and_what_was_set_aside(home: Path, reward: Path, prefine: Call) -> None:
    data = home / "torn.jsonl"
    code, _, err = prefine("evaluate", "reward", reward, data)
    assert code == 1, "more rows are unreadable than is allowed"
    assert "1 of 41 rows could not be read" in err
    code, out, _ = prefine("evaluate", "reward", reward, home / "pairs.jsonl", "--max-length", 40)
    assert code == 0
    assert "baseline" in out
    assert "set aside  1: " in out


def test_a_model_of_another_kind_is_refused(home: Path, reward: Path, prefine: Call) -> None:
    """A head made up at random would give numbers that look like an evaluation."""
    code, out, err = prefine("evaluate", "reward", home / "model", home / "pairs.jsonl")
    assert (code, out) == (2, "")
    assert "score.weight" in err
    code, out, err = prefine("evaluate", "ranking", reward, home / "pairs.jsonl")
    assert (code, out) == (2, "")
    assert "lm_head.weight" in err


def test_data_without_pairs_is_refused(tmp_path: Path, reward: Path, prefine: Call) -> None:
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "why?"}\n{"prompt": "how?"}')
    code, _, err = prefine("evaluate", "reward", reward, tmp_path / "prompts.jsonl")
    assert code == 1
    assert "no pairs to evaluate on" in err


def test_credit_writes_every_token_of_both_responses(
    home: Path, tmp_path: Path, prefine: Call, numbers: Numbers
) -> None:
    model, data, out = home / "model", home / "pairs.jsonl", tmp_path / "deep" / "credit.jsonl"
    moved = tmp_path / "moved"
    policy, tokenizer = load_policy(str(model)), load_tokenizer(str(model))
    with torch.no_grad():
        policy.lm_head.weight[tokenizer.encode("y", add_special_tokens=False)[0]] *= 3
    policy.save_pretrained(moved)
    tokenizer.save_pretrained(moved)
    words = ("evaluate", "credit", moved, data, "--reference", model, "--json")
    code, text, _ = prefine(*words, "--beta", 0.5, "--stretch", 4, "--out", out)
    assert code == 0
    report = json.loads(text)
    found = numbers(report)
    lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert len(lines) == 2 * report["rows"] == 78
    rewards = {"chosen": 0.0, "rejected": 0.0}
    for line in lines:
        assert len(line["tokens"]) == len(line["credit"])
        assert line["reward"] == pytest.approx(sum(line["credit"]))
        assert "".join(one["text"] for one in line["stretches"]) == "".join(line["tokens"])
        rewards[line["role"]] += line["reward"] / 39
    for role, value in rewards.items():
        assert found[f"reward_{role}"]["value"] == pytest.approx(value)
    assert lines[0]["tokens"] == ["y", "e", "s", " ", "<|im_end|>"]
    assert [round(one["stop"] - one["start"]) for one in lines[0]["stretches"]] == [4, 1]
    # the sums agree with those of whole responses, which `ranking` compares
    code, text, _ = prefine("evaluate", "ranking", moved, data, "--reference", model, "--json")
    margin = found["reward_chosen"]["value"] - found["reward_rejected"]["value"]
    policy_margin = numbers(json.loads(text))["margin"]["value"]
    code, text, _ = prefine("evaluate", "ranking", model, data, "--json")
    reference_margin = numbers(json.loads(text))["margin"]["value"]
    assert margin == pytest.approx(0.5 * (policy_margin - reference_margin), abs=1e-4)
    code, _, err = prefine(*words, "--out", out)
    assert (code, "is there already" in err) == (2, True)
    code, _, err = prefine(*words, "--beta", 0)
    assert (code, "--beta must be above 0" in err) == (2, True)


def test_credit_of_a_model_against_itself_is_nothing(
    home: Path, prefine: Call, numbers: Numbers
) -> None:
    model = home / "model"
    words = ("evaluate", "credit", model, home / "pairs.jsonl", "--reference", model, "--json")
    code, text, _ = prefine(*words)
    assert code == 0
    assert {one["value"] for one in numbers(json.loads(text)).values()} == {0.0}
