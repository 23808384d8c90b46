"""Every number that a run, an evaluation or a report shows is explained on a page."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.docs.blocks import DOCS, ROOT
from tests.start import write_start

from prefine.audit import measures
from prefine.bench.table import HEADER
from prefine.evaluation import grids, ranking, reward
from prefine.ledger.demo_report import NUMBERS
from prefine.objectives import registry
from prefine.report.panels import HELD_OUT, PANELS
from prefine.scores import Scores
from prefine.training.config import parse
from prefine.training.metrics import ERRORS, metric_sums
from prefine.training.run import train

PAGE = (DOCS / "explanation" / "metrics.md").read_text(encoding="utf-8")
FIRST_CELL = re.compile(r"^\|([^|]+)\|", re.MULTILINE)
NAME = re.compile(r"`([^`]+)`")
CURVE = re.compile(r"`([a-z_]+/[a-z_]+)`")


def first_cells(text: str) -> str:
    return "\n".join(FIRST_CELL.findall(text))


@pytest.fixture(scope="module")
def explained() -> set[str]:
    """Names that stand first in a row of the page, or of the generated page of numbers."""
    sys.path.insert(0, str(DOCS / "_ext"))
    try:
        from generated_pages import numbers_page  # pyright: ignore[reportMissingImports]
    finally:
        sys.path.remove(str(DOCS / "_ext"))
    page = numbers_page()
    empty = re.findall(r"^\| `([^`]+)` \|\s*\|$", page, re.MULTILINE)
    assert empty == [], "a name without an explanation"
    kept = PAGE[PAGE.index("## What an objective keeps") :]
    told = set(NAME.findall(first_cells(PAGE) + first_cells(page)))
    return told | set(NAME.findall(kept))


def scores(**more: Any) -> Scores:
    policy = torch.tensor([[-1.0, -2.0], [-3.0, -1.0]])
    return Scores(policy, torch.full((2, 2), 3.0), **more)


def names_of_steps() -> set[str]:
    """What the trainer's metrics are called, for every kind of score."""
    loss, reference = torch.ones(2), torch.zeros(2, 2)
    mask = torch.ones(2, 2, 3)
    inputs = [
        (
            scores(reference=reference, elements={"mask": mask, "entropy": mask, "delay": mask}),
            "nats",
        ),
        (scores(), "reward"),
        *((scores(reference=reference), unit) for unit in ERRORS),
    ]
    return {
        name for given, unit in inputs for name in metric_sums(given, loss, beta=0.1, unit=unit)
    }


def test_metrics_of_a_step_are_explained(explained: set[str]):
    names = names_of_steps()
    assert {
        "entropy",
        "delay",
        "errors/reference",
        "log_ratio/chosen",
        "rewards/margins_squared",
    } <= names
    assert names - explained == set()


def test_numbers_of_evaluations_are_explained(explained: set[str]):
    names = {*reward.MEANINGS, *grids.MEANINGS, *ranking.MEANINGS, *measures.MEANINGS, *NUMBERS}
    assert names - explained == set()


def test_columns_of_the_benchmark_are_explained(explained: set[str]):
    columns = {cell.strip() for cell in HEADER.split("\n")[0].split("|")}
    assert columns - explained == {"", "case", "against", "model, prompt, response, responses"}


def test_curves_of_a_report_are_explained():
    titles = {title for title in PANELS if f"\n| {title} |" not in PAGE}
    assert titles == set()
    members = {name for family in PANELS.values() for name in family}
    assert {name for name in members if f"`{name}`" not in PAGE} == set()


@pytest.mark.parametrize("name", registry.names())
def test_what_an_objective_speaks_of_and_keeps_is_explained(name: str, explained: set[str]):
    said = set(CURVE.findall(registry.describe(name)["curves"]))
    kept = getattr(registry.build(name, {}), "state_dict", dict)()
    assert (said | set(kept)) - explained == set()


@pytest.mark.parametrize("objective", ["dpo", "reward", "sft", "kto", "robust_em", "ofs_dpo"])
def test_everything_a_run_writes_is_explained(
    objective: str,
    tmp_path: Path,
    explained: set[str],
    tiny_llama: Callable[..., Any],
    tiny_tokenizer: Any,
):
    home = write_start(tmp_path, tiny_llama(), tiny_tokenizer)
    training = {"use_cpu": True, "max_steps": 2, "logging_steps": 1, "save_strategy": "no"}
    config = {
        "objective": objective, "model": str(home / "model"), "data": str(home / "pairs.jsonl"),
        "out": str(home / "run"), "holdout": 0.25, "training": training,
    }  # fmt: skip
    run = train(parse(config), quiet=True)
    lines = (run.folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    written = {name.removeprefix(HELD_OUT) for line in lines for name in json.loads(line)}
    assert {"loss", "step", "grad_norm"} <= written
    assert (written | set(run.summary["metrics"])) - explained == set()


def test_the_rules_read_only_metrics_that_exist():
    """`prefine diagnose` names metrics, too; a misspelt one would never be found."""
    read = set()
    for file in (ROOT / "src/prefine/audit").rglob("*.py"):
        read |= set(re.findall(r'"((?:rewards|logps|log_ratio|errors)/\w+)"', file.read_text()))
    assert read
    assert read - names_of_steps() == set()
