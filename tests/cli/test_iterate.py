"""`prefine iterate`: a policy that judges itself, from the command line."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

Call = Callable[..., tuple[int, str, str]]

BRIEF = {"max_steps": 2, "per_device_train_batch_size": 16, "use_cpu": True, "report_to": "none"}


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("judge", ["self", "initial"])
def test_a_policy_that_judges_itself(judge: str, home: Path, tmp_path: Path, prefine: Call) -> None:
    words = (
        "iterate", home / "pairs.jsonl", "--model", home / "model", "--out", tmp_path / "out",
        "--judge", judge, "--rounds", 1, "--responses", 2, "--max-new-tokens", 6, "--mixture", 0.2,
        "--objective", "ipo",
        *(word for key, value in BRIEF.items() for word in ("--set", f"training.{key}={value}")),
    )  # fmt: skip
    code, out, err = prefine(*words, "--json")
    assert code == 0, err
    report = json.loads(out)
    assert Path(report["model"]).is_dir()
    assert report["rounds"][0]["responses"] == 2
    code, _, err = prefine(*words)
    assert code != 0
    assert "Go on with --resume" in err
    code, out, err = prefine(*words, "--resume")
    assert code == 0, err
    assert "round 0" in out


@pytest.mark.usefixtures("undrawn")
def test_an_objective_may_do_without_a_reference(home: Path, prefine: Call) -> None:
    code, _, err = prefine(
        "iterate", home / "pairs.jsonl", "--model", home / "model", "--out", "out", "--judge",
        "initial", "--rounds", 1, "--responses", 2, "--max-new-tokens", 3, "--objective", "simpo",
        *(word for key, value in BRIEF.items() for word in ("--set", f"training.{key}={value}")),
    )  # fmt: skip
    assert code == 0, err
    summary = json.loads(Path("out/1-train-0/run/summary.json").read_text(encoding="utf-8"))
    assert summary["reference"] == "none"


@pytest.mark.usefixtures("undrawn")
def test_a_reward_model_judges(home: Path, tmp_path: Path, prefine: Call) -> None:
    brief = [word for key, value in BRIEF.items() for word in ("--set", f"training.{key}={value}")]
    code, _, err = prefine(
        "train", "reward", "--model", home / "model", "--data", home / "pairs.jsonl",
        "--out", tmp_path / "reward", *brief,
    )  # fmt: skip
    assert code == 0, err
    code, out, err = prefine(
        "iterate", home / "pairs.jsonl", "--model", home / "model", "--out", tmp_path / "out",
        "--judge", tmp_path / "reward", "--rounds", 1, "--responses", 3,
        "--max-new-tokens", 6, *brief, "--json",
    )  # fmt: skip
    assert code == 0, err
    (told,) = json.loads(out)["rounds"]
    assert told["pairs"] > told["prompts"], "all three responses to a prompt are compared"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--set", "optionz.beta=1"), "Did you mean options?"),
        (("--objective", "nope"), "There is no objective `nope`"),
        (("--objective", "plackett_luce"), "rounds train a policy on pairs"),
        (("--objective", "kto"), "--objective kto: rounds train a policy on pairs"),
        (("--objective", "reward"), "There is no objective `reward`"),
        (("--objective", "bradley_terry"), "rounds train a policy on pairs"),
        (("--judge", "my_judges:nobody"), "--judge my_judges:nobody: "),
        (("--judge", "MODEL"), "this is a model that writes"),
    ],
)
def test_a_mistake_is_found_before_anything_is_drawn(
    more: tuple[str, ...], message: str, home: Path, tmp_path: Path, prefine: Call
) -> None:
    given = [str(home / "model") if word == "MODEL" else word for word in more]
    code, _, err = prefine(
        "iterate", home / "pairs.jsonl", "--model", home / "model", "--out", "out", *given
    )
    assert (code, message in err) == (2, True), err
    assert not (tmp_path / "out").exists()


JUDGES = """
def few(prompts, completions):
    return [1.0]

def words(prompts, completions):
    return ["good" for _ in completions]

def lists(prompts, completions):
    return [[1.0, 2.0] for _ in completions]
"""


@pytest.mark.parametrize(
    ("judge", "message"),
    [
        ("few", "returned 1 values for 80 answers"),
        ("words", "must return one number for each answer, or None; it returned 'good'"),
        ("lists", "must return one number for each answer, or None; it returned [1.0, 2.0]"),
    ],
)
def test_a_judge_that_gives_no_numbers(
    judge: str, message: str, home: Path, tmp_path: Path, prefine: Call,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    (tmp_path / "odd_judges.py").write_text(JUDGES, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    code, _, err = prefine(
        "iterate", home / "pairs.jsonl", "--model", home / "model", "--out", "out",
        "--judge", f"odd_judges:{judge}", "--responses", 2, "--max-new-tokens", 2,
    )  # fmt: skip
    assert (code, f"--judge odd_judges:{judge} {message}" in err) == (2, True), err
