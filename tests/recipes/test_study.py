"""A whole study on a tiny model: equal trials, fresh seeds, a page; resumed, and refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prefine.cli.main import main
from prefine.errors import ConfigError, PrefineError
from prefine.recipes import Study, compare_objectives
from prefine.recipes.policy_numbers import judge_of

BRIEF = {
    "max_steps": 2, "per_device_train_batch_size": 4, "use_cpu": True, "report_to": "none",
    "dataloader_pin_memory": False,
}  # fmt: skip


@pytest.fixture(scope="module")
def home(
    tmp_path_factory: pytest.TempPathFactory, tiny_llama: Callable[..., Any], tiny_tokenizer: Any
) -> Path:
    home = tmp_path_factory.mktemp("study")
    tiny_llama().save_pretrained(home / "model")
    tiny_tokenizer.save_pretrained(home / "model")
    rows = [
        {"prompt": f"question {n}?", "chosen": f"good {n}", "rejected": f"bad {n}"}
        for n in range(60)
    ]
    (home / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (home / "shouting.py").write_text(
        "def long(prompts, completions):\n    return [len(c) for c in completions]\n"
    )
    return home


def study(home: Path, out: Path, **more: Any) -> Study:
    given: dict[str, Any] = {
        "data": str(home / "data.jsonl"), "model": str(home / "model"), "out": out,
        "objectives": ["dpo", "simpo"], "trials": 1, "seeds": 2, "rates": (1e-3, 1e-2),
        "samples": 6, "max_new_tokens": 8, "holdout": 0.2, "settings": {"training": BRIEF},
    }  # fmt: skip
    return Study(**{**given, **more})


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def test_a_study_from_the_command_line(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(home)
    words = [
        "prefine", "compare-objectives", "data.jsonl", "--model", "model", "--out",
        str(tmp_path / "out"), "--objectives", "dpo,sft", "--trials", "1", "--seeds", "2",
        "--rates", "1e-3,1e-2", "--reward", "shouting:long", "--samples", "6",
        "--max-new-tokens", "8", "--holdout", "0.2",
        *(word for key, value in BRIEF.items() for word in ("--set", f"training.{key}={value}")),
    ]  # fmt: skip
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(SystemExit) as done:
        main()
    said = capsys.readouterr()
    assert not done.value.code, said.err
    assert "reward, over seeds and prompts" in said.out
    assert "sft states no usual range of a strength: only its rate was tried." in said.out
    assert "dpo states no" not in said.out
    assert "6 of 6  sft, seed 2 of 2" in said.err
    found = json.loads((tmp_path / "out" / "compare.json").read_text(encoding="utf-8"))
    assert found["choice"]["means"].keys() == {"dpo", "sft"}
    assert found["study"]["measure"] == "reward"
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert page.count("<svg") >= 2
    assert not (tmp_path / "out" / "trials" / "dpo" / "0" / "model").exists()
    for seed in ("1", "2"):
        kept = tmp_path / "out" / "final" / "dpo" / seed / "model"
        assert (kept / "model.safetensors").is_file()


def test_a_study_goes_on_where_it_stood(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, ran = tmp_path / "out", []
    monkeypatch.setattr("prefine.recipes.compare.train", None)  # nothing may start

    def stop(what: str, done: int, of: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare_objectives(study(home, out), on_stage=stop)
    monkeypatch.undo()

    with pytest.raises(Exception, match="Go on with --resume"):
        compare_objectives(study(home, out))
    with pytest.raises(Exception, match="another study"):
        compare_objectives(study(home, out, trials=3), resume=True)
    finding = compare_objectives(
        study(home, out), resume=True, on_stage=lambda *stage: ran.append(stage)
    )
    assert [stage[1] for stage in ran] == list(range(6))
    assert ran[0] == ("dpo, trial 1 of 1", 0, 6)
    times = {p: p.stat().st_mtime_ns for p in out.rglob("numbers.json")}
    again = compare_objectives(study(home, out), resume=True)
    assert {p: p.stat().st_mtime_ns for p in out.rglob("numbers.json")} == times
    assert again.to_json() == finding.to_json()
    assert finding.choice.gaps[0].stat.seeds == 2
    prompts = {
        part: {json.loads(line)["id"] for line in lines(out / "data" / f"{part}.jsonl")}
        for part in ("train", "validation", "test")
    }
    assert not prompts["validation"] & prompts["test"]
    assert len(prompts["train"]) + len(prompts["validation"]) + len(prompts["test"]) == 60
    chose, last = finding.tried[0].numbers, finding.final["dpo"][1]
    assert not chose["reward_accuracy"].keys() & last["reward_accuracy"].keys()
    best = max(finding.of("dpo"), key=lambda one: one.mean("reward_accuracy"))
    assert finding.best["dpo"] is best
    within = [
        t.mean("reward_accuracy") for t in finding.of("dpo") if t.mean("kl") <= finding.budget
    ]
    assert finding.at_budget("dpo") == max(within) if within else True


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"seeds": 1}, "two seeds or more"),
        ({"holdout": 0.5}, "`holdout`"),
        ({"measure": "kl"}, "`measure` must be"),
        ({"measure": "reward"}, "name --reward"),
        ({"settings": {"seed": 3}}, "the study sets these itself"),
        ({"settings": {"training": {"learning_rate": 1.0}}}, "give --rates"),
    ],
)
def test_a_study_that_makes_no_sense_is_refused(
    more: dict[str, Any], why: str, home: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=why):
        study(home, tmp_path / "out", **more)


def test_a_folder_with_something_else_is_left_alone(home: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(Exception, match="holds no study"):
        compare_objectives(study(home, tmp_path), resume=True)


def test_a_reward_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match="no_such_module"):
        judge_of("no_such_module:f")
    with pytest.raises(ConfigError, match="no attribute"):
        judge_of("json:f")


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"objectives": ["dpo", "plackett_luce"]}, "plackett_luce cannot be. .* hold no list"),
        ({"objectives": ["dpo", "modpo"]}, "modpo cannot be. modpo needs `utility`"),
        ({"objectives": ["dpo", "bradley_terry"]}, "trains a reward model"),
        ({"settings": {"maxlength": 3}}, "Did you mean max_length"),
        ({"reward": "nowhere:f"}, "No module named 'nowhere'"),
        ({"data": "missing.jsonl"}, "no file missing.jsonl"),
        ({"holdout": 0.001}, "no records out of 60"),
    ],
)
def test_what_cannot_be_run_is_refused_before_the_first_run_and_leaves_no_folder(
    more: dict[str, Any], why: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prefine.recipes.compare.train", None)
    with pytest.raises(PrefineError, match=why):
        compare_objectives(study(home, tmp_path / "out", **more))
    assert not (tmp_path / "out").exists()
