"""Train a small model on rows that were never text, with the trainer that everything else uses."""

import copy
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn
from transformers import TrainingArguments
from transformers.utils import logging as their_logging

from prefine.protocols import Adapter
from prefine.training.reference import ModuleReference
from prefine.training.rows import EncodedRows
from prefine.training.trainer import PreferenceTrainer

Json = dict[str, Any]


def align(
    model: nn.Module,
    adapter: Adapter,
    objective: Any,
    rows: Sequence[Mapping[str, Any]],
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    seed: int = 0,
    on_step: Callable[[Json], None] | None = None,
) -> nn.Module:
    """Return a copy of the model after training; the reference is the model as it came.

    Args:
        model: Left as it is.
        adapter: Scores it.
        objective: A loss, or terms.
        rows: As the adapter collates them.
        steps: Optimizer steps.
        batch_size: Rows of a step.
        learning_rate: Of Adam, falling to 0 along a cosine.
        seed: Of order and noise.
        on_step: Called with the metrics of each step.
    """
    their_logging.set_verbosity_error()
    reference = ModuleReference(copy.deepcopy(model), adapter, "initial", is_initial_policy=True)
    with tempfile.TemporaryDirectory() as folder:
        trainer = PreferenceTrainer(
            copy.deepcopy(model),
            adapter=adapter,
            objective=objective,
            reference=reference,
            train_dataset=EncodedRows(lambda _: rows, len(rows), seed=seed),
            on_step=on_step,
            args=TrainingArguments(
                output_dir=str(Path(folder) / "run"),
                max_steps=steps,
                seed=seed,
                use_cpu=True,
                per_device_train_batch_size=batch_size,
                learning_rate=learning_rate,
                lr_scheduler_type="cosine",
                weight_decay=0.0,
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
                dataloader_pin_memory=False,
                logging_strategy="no",
            ),
        )
        trainer.train()
    return trainer.model  # type: ignore[return-value]
