"""What a run keeps of its held-out rows, and what a tracker is told."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import TrainerCallback
from transformers.integrations import integration_utils

from prefine.audit import compare
from prefine.runs import RunFolder
from prefine.training.config import RunConfig
from prefine.training.run import train

Configure = Callable[..., RunConfig]


def test_a_run_keeps_the_scores_of_its_held_out_rows(configure: Configure, tmp_path: Path):
    config = configure(holdout=0.25)
    result = train(config, quiet=True)
    rows = RunFolder(result.folder).held_out()
    assert rows is not None
    assert len(rows) == result.summary["rows"]["held_out"]
    right = [
        (r["scores"][0] - r["reference"][0]) > (r["scores"][1] - r["reference"][1]) for r in rows
    ]
    assert sum(right) / len(right) == result.summary["metrics"]["reward_accuracy"]["value"]
    assert len({row["text"] for row in rows}) == len(rows)
    assert rows[0]["roles"] == ["chosen", "rejected"]
    assert all(len(row["length"]) == 2 and min(row["length"]) > 0 for row in rows)
    json.dumps(rows, allow_nan=False)


@pytest.mark.parametrize("objective", ["reward", "kto", "simpo", "sft"])
def test_every_kind_of_run_can_be_compared_with_its_like(
    configure: Configure, tmp_path: Path, objective: str
):
    """The same held-out file gives the same rows, whatever the seed."""
    paths = []
    for seed in (0, 1):
        config = configure(
            objective, seed=seed, out=str(tmp_path / f"{objective}{seed}"), holdout=0,
            eval_data=configure().data,
            training={"max_steps": 2, "learning_rate": 1e-3 * (seed + 1)},
        )  # fmt: skip
        paths.append(train(config, quiet=True).folder)
    found = compare(paths)
    assert found.settings == {"training.learning_rate": [0.001, 0.002]}
    assert found.differences


def test_without_held_out_rows_there_is_no_file(configure: Configure):
    result = train(configure(holdout=0, training={"max_steps": 1}), quiet=True)
    assert RunFolder(result.folder).held_out() is None


def test_a_tracker_receives_our_metrics(configure: Configure, monkeypatch: pytest.MonkeyPatch):
    """`training.report_to` names trackers of transformers: callbacks that are told `logs`."""
    told: list[dict[str, Any]] = []

    class Tracker(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            told.append({"step": state.global_step, **logs})

    monkeypatch.setitem(integration_utils.INTEGRATION_TO_CALLBACK, "ours", Tracker)
    result = train(
        configure(training={"report_to": ["ours"], "logging_steps": 1, "max_steps": 3}), quiet=True
    )
    written = RunFolder(result.folder).metrics()
    steps = [row for row in told if "rewards/margins" in row]
    assert [row["step"] for row in steps] == [1, 2, 3]
    for told_row, row in zip(steps, (r for r in written if "loss" in r), strict=True):
        for name in ("rewards/margins", "rewards/accuracies", "logps/chosen", "log_ratio/chosen",
                     "kl_reference", "entropy"):  # fmt: skip
            assert told_row[name] == row[name], name
    evaluated = [row for row in told if "eval_rewards/accuracies" in row]
    assert evaluated, "held-out metrics, too"


def test_metrics_are_written_without_a_tracker_and_without_logging(configure: Configure):
    result = train(
        configure(training={"logging_strategy": "no", "max_steps": 3, "eval_strategy": "no"}),
        quiet=True,
    )
    written = RunFolder(result.folder).metrics()
    assert [row["step"] for row in written] == [1, 2, 3]
    assert all({"loss", "rewards/margins", "grad_norm"} <= row.keys() for row in written)
