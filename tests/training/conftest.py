"""A trainer on a tiny model and encoded rows, and the same on disk for whole runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.start import write_start
from transformers import TrainingArguments

from prefine.adapters import CausalLM
from prefine.training.config import RunConfig, parse
from prefine.training.rows import EncodedRows
from prefine.training.trainer import PreferenceTrainer


@pytest.fixture(scope="session")
def token_rows() -> Callable[..., list[dict[str, Any]]]:
    """Return `make(count, **columns)`: encoded pairs of unequal lengths."""

    def make(count: int, **columns: Any) -> list[dict[str, Any]]:
        rng = np.random.default_rng(0)

        def tokens(low: int, high: int) -> Any:
            return rng.integers(4, 250, rng.integers(low, high)).astype(np.int32)

        rows: list[dict[str, Any]] = []
        for n in range(count):
            prompt, responses = tokens(2, 6), [tokens(1, 9) for _ in range(2)]
            own = {k: v[n] if isinstance(v, list) else v for k, v in columns.items()}
            rows.append(
                {
                    "record": f"r{n}",
                    "roles": ["chosen", "rejected"],
                    "prompt": [prompt, prompt],
                    "response": responses,
                    "mask": [np.ones(len(r), dtype=bool) for r in responses],
                    **own,
                }
            )
        return rows

    return make


@pytest.fixture
def trainer(
    tiny_llama: Callable[..., Any],
    tiny_tokenizer: Any,
    token_rows: Callable[..., list[dict[str, Any]]],
    tmp_path: Path,
) -> Callable[..., PreferenceTrainer]:
    """Return `make(objective, rows=..., model=..., reference=..., layout=..., **arguments)`."""

    def make(objective: Any, **more: Any) -> PreferenceTrainer:
        rows = more.pop("rows", None) or token_rows(6)
        model = more.pop("model", None) or tiny_llama(initializer_range=0.1).double()
        adapter = CausalLM(tiny_tokenizer, layout=more.pop("layout", "padded"))
        names = ("reference", "on_step", "callbacks", "token_budget", "offload", "mixing")
        own = {name: more.pop(name) for name in names if name in more}
        if callable(own.get("reference")) and not hasattr(own["reference"], "identity"):
            own["reference"] = own["reference"](adapter)
        evaluated = more.pop("eval_rows", None)
        values = {
            "per_device_train_batch_size": 2, "max_steps": 2, "learning_rate": 1e-2,
            "lr_scheduler_type": "constant", "report_to": "none", "disable_tqdm": True,
            "use_cpu": True, "save_strategy": "no", "logging_steps": 1, "seed": 0, **more,
        }  # fmt: skip
        return PreferenceTrainer(
            model, adapter=adapter, objective=objective,
            args=TrainingArguments(str(tmp_path / "checkpoints"), **values),
            train_dataset=EncodedRows(lambda _: rows, len(rows)),
            eval_dataset=evaluated and EncodedRows(lambda _: evaluated, len(evaluated)),
            **own,
        )  # fmt: skip

    return make


@pytest.fixture(scope="session")
def start(
    tmp_path_factory: pytest.TempPathFactory, tiny_llama: Callable[..., Any], tiny_tokenizer: Any
) -> Path:
    """Return a folder with `model/` and `pairs.jsonl`, in messages, of 24 prompts."""
    model = tiny_llama(initializer_range=0.1)
    return write_start(tmp_path_factory.mktemp("start"), model, tiny_tokenizer)


@pytest.fixture
def configure(start: Path, tmp_path: Path) -> Callable[..., RunConfig]:
    """Return `make(objective, **keys)`: the configuration of a short run into `tmp_path/run`."""

    def make(objective: str = "dpo", **more: Any) -> RunConfig:
        training = {"use_cpu": True, "learning_rate": 1e-2, **more.pop("training", {})}
        return parse(
            {
                "objective": objective, "model": str(start / "model"),
                "data": str(start / "pairs.jsonl"), "out": str(tmp_path / "run"),
                "training": training, **more,
            }
        )  # fmt: skip

    return make


@pytest.fixture(autouse=True)
def _without_pictures(undrawn: None) -> None:
    """No test here looks at the pictures of a report; `tests/report` and `tests/cli` do."""
