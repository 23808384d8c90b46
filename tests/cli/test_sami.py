"""`prefine sami`: a policy told by principles alone, from the command line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Call = Callable[..., tuple[int, str, str]]

KIND = "- principle: Be kind.\n  opposite: Be rude.\n"
BRIEF = {"max_steps": 2, "per_device_train_batch_size": 8, "use_cpu": True}


@pytest.fixture
def words(home: Path, tmp_path: Path) -> tuple[Any, ...]:
    (tmp_path / "kind.yaml").write_text(KIND, encoding="utf-8")
    return (
        "sami", home / "pairs.jsonl", "--principles", "kind.yaml", "--model", home / "model",
        "--out", "out", "--rounds", 1, "--requests", 6, "--max-new-tokens", 6,
        *(word for key, value in BRIEF.items() for word in ("--set", f"training.{key}={value}")),
    )  # fmt: skip


@pytest.mark.usefixtures("undrawn")
def test_a_policy_follows_principles(words: tuple[Any, ...], prefine: Call) -> None:
    code, out, err = prefine(*words, "--json")
    assert code == 0, err
    report = json.loads(out)
    assert Path(report["model"]).is_dir()
    (told,) = report["rounds"]
    assert (told["grids"], told["responses"], told["constitutions"]) == (6, 12, 2)
    assert set(told) == {
        "grids", "responses", "constitutions", "cut", "copied", "left_out", "set_aside",
    }  # fmt: skip
    code, _, err = prefine(*words)
    assert code != 0
    assert "Go on with --resume" in err
    code, out, err = prefine(*words, "--resume")
    assert code == 0, err
    assert "round 0  6 requests under 2 constitutions" in out
    Path("kind.yaml").write_text(KIND.replace("rude", "cold"), encoding="utf-8")
    assert "another program" in prefine(*words, "--resume")[2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- principle: Be kind.", "principle 1 has no text under `opposite`"),
        (
            "principles:\n  - {principle: a, opposite: b}\nconstitutions: [[principle]]",
            "two different constitutions or more",
        ),
    ],
)
def test_what_tells_nothing_apart_is_refused(
    text: str, message: str, words: tuple[Any, ...], prefine: Call
) -> None:
    Path("kind.yaml").write_text(text, encoding="utf-8")
    code, _, err = prefine(*words)
    assert code == 2
    assert message in err


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("trainingz.learning_rate=1", "Did you mean training?"),
        ("holdout=2", "holdout: "),
        ("degrees.weight=0.1", "degrees: the rounds set these themselves, or nothing in them"),
        ("chase.every=2", "chase: the rounds set these themselves, or nothing in them"),
    ],
)
def test_a_mistake_is_found_before_anything_is_drawn(
    setting: str, message: str, words: tuple[Any, ...], prefine: Call
) -> None:
    code, _, err = prefine(*words, "--set", setting)
    assert (code, message in err) == (2, True), err
    assert not Path("out").exists()


def test_a_file_is_no_folder(words: tuple[Any, ...], prefine: Call) -> None:
    Path("out").write_text("years of work", encoding="utf-8")
    code, _, err = prefine(*words)
    assert (code, "out is a file. Name a folder" in err) == (1, True)
