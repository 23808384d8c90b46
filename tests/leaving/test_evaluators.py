"""lm-evaluation-harness and inspect run an exported policy, on tasks of our own, offline.

They bring many libraries, so they live in an environment of their own: `make test-evaluators` makes
it and runs this file. `PREFINE_EVAL_PYTHON` names its Python.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from prefine.models import export_model, load_policy, load_tokenizer

pytestmark = pytest.mark.slow

ROWS = [
    {"question": f"Is {n} even?", "choices": [" yes", " no"], "label": n % 2} for n in range(20)
]

TASK = """
task: parity
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: label
target_delimiter: ""
metric_list: [{{metric: acc}}]
"""

HARNESS = """
import json, sys
import lm_eval
from lm_eval.tasks import TaskManager
found = lm_eval.simple_evaluate(
    model="hf", model_args={"pretrained": sys.argv[1], "device": "cpu", "dtype": "float32"},
    tasks=["parity"], task_manager=TaskManager(include_path=sys.argv[2]), batch_size=4,
    log_samples=True, bootstrap_iters=0,
)
rows = sorted(found["samples"]["parity"], key=lambda row: row["doc_id"])
print(json.dumps({
    "acc": found["results"]["parity"]["acc,none"],
    "values": [[float(r[0]) for r in row["filtered_resps"]] for row in rows],
}))
"""

INSPECT = """
import json, sys
from inspect_ai import Task, eval
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.scorer import includes
from inspect_ai.solver import generate
task = Task(
    dataset=MemoryDataset([Sample(input=f"Is {n} even?", target="") for n in range(4)]),
    solver=generate(), scorer=includes(),
)
(log,) = eval(
    task, model="hf/local", model_args={"model_path": sys.argv[1], "device": "cpu"},
    display="none", log_dir=sys.argv[2], max_tokens=8,
)
print(json.dumps({
    "status": log.status, "error": str(log.error), "samples": len(log.samples or []),
    "accuracy": log.results.scores[0].metrics["accuracy"].value if log.results else None,
    "tokens": [u.output_tokens for u in log.stats.model_usage.values()],
}))
"""


@pytest.fixture(scope="module")
def evaluators() -> Callable[..., Any]:
    """Return `run(module, code, *words)`: what code prints as JSON, where it can run."""
    python = os.environ.get("PREFINE_EVAL_PYTHON", sys.executable)

    def run(module: str, code: str, *words: object) -> Any:
        has = subprocess.run([python, "-c", f"import {module}"], capture_output=True, check=False)
        if has.returncode:
            pytest.skip(f"an evaluator is not installed: {module}")
        settings = {**os.environ, "HF_DATASETS_OFFLINE": "1"}
        done = subprocess.run(
            [python, "-c", code, *map(str, words)],
            env=settings, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout.splitlines()[-1])

    return run


@pytest.fixture(scope="module")
def policy(finished: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exported") / "policy"
    export_model(str(finished("dpo", template="chatml")), out)
    return out


def likelihood(model: Any, tokenizer: Any, context: str, said: str) -> float:
    """The log-probability of a continuation, nats."""
    start = tokenizer(context)["input_ids"]
    whole = tokenizer(context + said)["input_ids"]
    with torch.no_grad():
        log_probs = model(input_ids=torch.tensor([whole])).logits[0].log_softmax(-1)
    return sum(float(log_probs[at - 1, whole[at]]) for at in range(len(start), len(whole)))


def test_lm_evaluation_harness(
    evaluators: Callable[..., Any], policy: Path, tmp_path: Path
) -> None:
    """It loads the folder, and its likelihoods are ours."""
    data = tmp_path / "parity.jsonl"
    data.write_text("\n".join(map(json.dumps, ROWS)), encoding="utf-8")
    (tmp_path / "parity.yaml").write_text(TASK.format(data=data), encoding="utf-8")
    found = evaluators("lm_eval", HARNESS, policy, tmp_path)
    model, tokenizer = load_policy(str(policy)).eval(), load_tokenizer(str(policy))
    for row, values in zip(ROWS, found["values"], strict=True):
        expected = [likelihood(model, tokenizer, row["question"], said) for said in row["choices"]]
        assert values == pytest.approx(expected, abs=1e-3)
    right = [
        values.index(max(values)) == row["label"]
        for row, values in zip(ROWS, found["values"], strict=True)
    ]
    assert found["acc"] == pytest.approx(sum(right) / len(right))


def test_inspect(evaluators: Callable[..., Any], policy: Path, tmp_path: Path) -> None:
    """It loads the folder, writes to its chat template, and scores what comes."""
    found = evaluators("inspect_ai", INSPECT, policy, tmp_path)
    assert (found["status"], found["samples"]) == ("success", 4), found["error"]
    assert found["accuracy"] == 1.0, "every text includes the empty one"
    assert sum(found["tokens"]) > 0
