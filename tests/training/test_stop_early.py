"""A run that goes too far is stopped, and its model is the one from before."""

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.start import write_start

from prefine.adapters import CausalLM
from prefine.errors import ConfigError
from prefine.models import load_policy
from prefine.records import load
from prefine.runs import RunFolder
from prefine.scores import Needs
from prefine.training.config import parse
from prefine.training.run import train
from prefine.training.stop_rules import LikelihoodRule, LossRule

TRAINING = {
    "use_cpu": True, "max_steps": 40, "logging_steps": 1, "eval_strategy": "steps",
    "eval_steps": 2, "per_device_train_batch_size": 8, "learning_rate": 0.03,
    "lr_scheduler_type": "constant", "report_to": "none",
}  # fmt: skip


def rows(held: list[tuple[float, float]], margins: list[float]) -> Iterator[dict[str, float]]:
    for n, ((entropy, mass), margin) in enumerate(zip(held, margins, strict=True)):
        yield {"step": 10 * n + 5, "rewards/margins": margin - 1}
        yield {"step": 10 * n + 10, "rewards/margins": margin + 1}  # their mean is `margin`
        yield {"step": 10 * n + 10, "eval_top_entropy": entropy, "eval_top_mass": mass}


@pytest.mark.parametrize(
    ("held", "margins", "alarm", "back_to"),
    [
        # entropy and mass fall from the second evaluation on, the margin grows
        ([(0.8, 0.4), (1.2, 0.7), (0.9, 0.5), (0.5, 0.4)], [0, 1, 2, 3], 40, 20),
        # the margin falls, too: the run comes apart, but not in this way
        ([(0.8, 0.4), (1.2, 0.7), (0.9, 0.5), (0.5, 0.4)], [0, 3, 2, 1], None, None),
        # mass rises: a collapse, which is another illness
        ([(0.8, 0.6), (1.2, 0.7), (0.9, 0.8), (0.5, 0.9)], [0, 1, 2, 3], None, None),
    ],
)
def test_the_rule(
    held: list[tuple[float, float]], margins: list[float], alarm: int | None, back_to: int | None
) -> None:
    rule = LikelihoodRule(3)
    rule.see_all(rows(held, margins))
    assert (rule.alarm, rule.back_to) == (alarm, back_to)


def test_the_first_alarm_stays() -> None:
    rule = LikelihoodRule(2)
    rule.see_all(rows([(3.0, 0.9), (2.0, 0.8), (1.0, 0.7)], [0, 1, 2]))
    assert (rule.alarm, rule.back_to) == (20, 10)


def test_the_first_of_several_terms_is_watched() -> None:
    rule = LikelihoodRule(2)
    for n in (1, 2):
        rule.see({"step": n, "dpo/rewards/margins": float(n), "other/rewards/margins": -n})
        rule.see({"step": n, "eval_dpo/top_entropy": -n, "eval_dpo/top_mass": -n})
    assert rule.alarm == 2


@pytest.mark.parametrize(
    ("losses", "alarm", "back_to"),
    [
        ([0.7, 0.6, 0.5, 0.4], None, None),
        ([0.7, 0.5, 0.6, 0.55], 4, 2),
        ([0.7, 0.5, 0.6, 0.4, 0.45], None, None),  # a new low, and one evaluation after it
        ([0.5, 0.5, 0.5], 3, 1),  # no lower is not lower
        ([0.7, 0.5, 0.6, 0.55, 0.1], 4, 2),  # the first alarm stays
    ],
)
def test_the_rule_of_the_loss(losses: list[float], alarm: int | None, back_to: int | None) -> None:
    rule = LossRule(2)
    rule.see_all({"step": n, "eval_loss": loss} for n, loss in enumerate(losses, 1))
    rule.see({"step": 9, "loss": 0.0})  # of a step
    assert (rule.alarm, rule.back_to) == (alarm, back_to)


@pytest.fixture(scope="module")
def home(
    tmp_path_factory: pytest.TempPathFactory, tiny_llama: Callable[..., Any], tiny_tokenizer: Any
) -> Path:
    return write_start(tmp_path_factory.mktemp("start"), tiny_llama(), tiny_tokenizer)


def config(home: Path, out: Path, **more: Any) -> Any:
    training = TRAINING | more.pop("training", {})
    given = {
        "objective": "dpo", "model": str(home / "model"), "data": str(home / "pairs.jsonl"),
        "out": str(out), "holdout": 0.25, "training": training,
        "stop_early": {"by": "likelihood", "window": 2},
    }  # fmt: skip
    return parse({**given, **more})


def turned(home: Path, folder: Path) -> dict[str, Any]:
    """Keys of a run whose held-out loss grows, the more is learnt."""
    swap = {"chosen": "rejected", "rejected": "chosen"}
    pairs = map(json.loads, (home / "pairs.jsonl").read_text(encoding="utf-8").splitlines())
    rows = [{swap.get(key, key): value for key, value in pair.items()} for pair in pairs]
    path = folder / "turned.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return {"holdout": 0, "eval_data": str(path), "stop_early": {"by": "loss", "window": 3}}


@pytest.mark.usefixtures("undrawn")
def test_a_run_stops_and_gives_the_model_from_before(home: Path, tmp_path: Path) -> None:
    result = train(config(home, tmp_path / "run"), quiet=True)
    stopped = result.summary["stopped"]
    assert stopped["model_of_step"] == stopped["alarm"] - 2
    assert result.summary["steps"] == stopped["alarm"] < 40
    kept = tmp_path / "run" / "checkpoints" / f"checkpoint-{stopped['model_of_step']}"
    before, given = (
        load_file(folder / "model.safetensors") for folder in (kept, result.folder / "model")
    )
    assert before.keys() == given.keys()
    assert all(torch.equal(before[name], given[name]) for name in given)
    lines = (result.folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    seen = [row for row in map(json.loads, lines) if "eval_top_mass" in row]
    assert seen[-1]["eval_top_mass"] < seen[-2]["eval_top_mass"]
    assert seen[-1]["eval_top_entropy"] < seen[-2]["eval_top_entropy"]
    assert any("Stopped at step" in note for note in result.summary["notes"])


@pytest.mark.usefixtures("undrawn")
def test_a_run_that_was_cut_off_after_the_alarm_takes_no_step_more(
    home: Path, tmp_path: Path
) -> None:
    whole = train(config(home, tmp_path / "run"), quiet=True)
    files = ("metrics.jsonl", "model/model.safetensors")
    before = [(whole.folder / name).read_bytes() for name in files]
    shutil.rmtree(whole.folder / "model")
    (whole.folder / "summary.json").unlink()
    again = train(config(home, tmp_path / "run"), quiet=True, resume=True)
    assert [(whole.folder / name).read_bytes() for name in files] == before
    assert again.summary["stopped"] == whole.summary["stopped"]
    assert again.summary["steps"] == whole.summary["steps"]
    assert again.summary["metrics"] == whole.summary["metrics"]


@pytest.mark.usefixtures("undrawn")
def test_checkpoints_of_interrupts_push_none_out_that_may_be_wanted(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = turned(home, tmp_path)
    whole = train(config(home, tmp_path / "whole", **more), quiet=True)
    least = whole.summary["stopped"]["model_of_step"]
    append, broken = RunFolder.append, set[int]()

    def interrupted(self: RunFolder, row: dict[str, Any]) -> None:
        append(self, row)
        if row["step"] in (least + 1, least + 5) and row["step"] not in broken:
            broken.add(row["step"])
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(RunFolder, "append", interrupted)
    for resume in (False, True):
        with pytest.raises(KeyboardInterrupt):
            train(config(home, tmp_path / "run", **more), quiet=True, resume=resume)
    result = train(config(home, tmp_path / "run", **more), quiet=True, resume=True)
    assert len(broken) == 2
    assert result.summary["stopped"] == whole.summary["stopped"]
    assert result.summary["metrics"] == whole.summary["metrics"]
    rows = [(run.folder / "metrics.jsonl").read_bytes() for run in (whole, result)]
    assert rows[0] == rows[1]


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("objective", ["dpo", "kto"])
def test_a_run_stops_where_the_held_out_loss_is_least(
    objective: str, home: Path, tmp_path: Path
) -> None:
    more = turned(home, tmp_path)
    result = train(config(home, tmp_path / "run", objective=objective, **more), quiet=True)
    stopped = result.summary["stopped"]
    lines = (result.folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    losses = {row["step"]: row["eval_loss"] for row in map(json.loads, lines) if "eval_loss" in row}
    assert stopped["model_of_step"] == min(losses, key=lambda step: losses[step])
    assert stopped["alarm"] == stopped["model_of_step"] + 6 == max(losses) < 40
    assert not any("to tell anything" in note for note in result.summary["notes"])
    assert any("has not come down" in note for note in result.summary["notes"])


@pytest.mark.usefixtures("undrawn")
def test_adapters_and_states_go_back_too(home: Path, tmp_path: Path) -> None:
    """The reliabilities that a run tells are those of the step whose adapters it gives."""
    more: dict[str, Any] = {
        "objective": "robust_em", "lora": {"r": 2}, "reference_update": {"every": 2, "mix": 0.5},
    }  # fmt: skip
    result = train(config(home, tmp_path / "run", **more), quiet=True)
    step = result.summary["stopped"]["model_of_step"]
    kept = tmp_path / "run" / "checkpoints" / f"checkpoint-{step}"
    before, given = (
        load_file(folder / "adapter_model.safetensors")
        for folder in (kept, result.folder / "model")
    )
    assert all(torch.equal(before[name], given[name]) for name in given)
    (state,) = json.loads((kept / "objective_state.json").read_text(encoding="utf-8"))
    assert result.summary["learnt"]["robust_em"] == state
    assert state["updates"] == step


@pytest.mark.usefixtures("undrawn")
def test_without_an_alarm_nothing_changes(home: Path, tmp_path: Path) -> None:
    calm = {"max_steps": 4, "learning_rate": 1e-6}
    stop = {"by": "likelihood", "window": 5}  # and two evaluations
    result = train(config(home, tmp_path / "run", training=calm, stop_early=stop), quiet=True)
    assert "stopped" not in result.summary
    assert result.summary["steps"] == 4
    assert any("stop_early saw 2 evaluations and needs 5" in n for n in result.summary["notes"])


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"objective": "kto"}, "margin of pairs or lists|watches the margin"),
        ({"objective": "reward"}, "watches the margin"),
        ({"training": {"eval_strategy": "no"}}, "reads evaluations"),
        ({"training": {"save_strategy": "no"}}, "one must be saved at each"),
        ({"training": {"save_steps": 3}}, "one must be saved at each"),
        ({"training": {"save_total_limit": 2}}, "4 checkpoints must be kept"),
        ({"stop_early": {"window": 1}}, "stop_early.window"),
    ],
)
def test_what_cannot_work_is_refused(
    home: Path, tmp_path: Path, more: dict[str, Any], why: str
) -> None:
    with pytest.raises(ConfigError, match=why):
        train(config(home, tmp_path / "run", **more), quiet=True)


def test_what_the_likeliest_hold_is_the_same_packed_and_padded(home: Path) -> None:
    from prefine.models import load_tokenizer

    model = load_policy(str(home / "model"))
    found = []
    for layout in ("packed", "padded"):
        adapter = CausalLM(load_tokenizer(str(home / "model")), layout=layout)
        prepared = adapter.prepare(load(str(home / "pairs.jsonl")).pairs()).dataset
        batch = adapter.collate([prepared[n] for n in range(4)])
        needs = Needs(elements=frozenset({"top_entropy", "top_mass"}))
        found.append(adapter.score(model, batch, needs=needs).elements)
    for name in ("top_entropy", "top_mass"):
        packed, padded = (each[name][each["mask"]].sum() for each in found)
        torch.testing.assert_close(packed, padded)
