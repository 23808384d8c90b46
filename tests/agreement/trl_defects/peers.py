"""The same rows through TRL and through prefine, on one tiny model.

Loaded by `conftest.py`, and started as a program for several processes: it then evaluates rows
with both and writes what each says.
"""

import json
import logging
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

Rows = list[dict[str, Any]]

SAME: dict[str, Any] = {
    "per_device_train_batch_size": 4,
    "max_steps": 1,
    "optim": "sgd",
    "learning_rate": 0.1,
    "lr_scheduler_type": "constant",
    "train_sampling_strategy": "sequential",
    "logging_steps": 1,
    "save_strategy": "no",
    "report_to": "none",
    "disable_tqdm": True,
    "use_cpu": True,
}
"""What both are told; everything else keeps its default."""


def warned(records: Iterable[logging.LogRecord]) -> list[str]:
    """What TRL logged for its user to see."""
    loud = [record for record in records if record.levelno >= logging.WARNING]
    return [record.getMessage() for record in loud if record.name.startswith("trl")]


def trl_trainer(
    start: Path,
    rows: Rows,
    out: Path,
    *,
    method: str = "dpo",
    model: Any = None,
    reference: Path | None = None,
    held_out: Rows | None = None,
    **config: Any,
) -> Any:
    """A trainer of TRL that has not trained yet.

    Args:
        start: Folder of model and tokenizer.
        rows: What to train on.
        out: Where TRL may write.
        method: dpo or kto.
        model: The policy, if it is not the model in `start`.
        reference: Folder of the reference; TRL's own choice if None.
        held_out: What to evaluate on.
        **config: Further fields of TRL's configuration.
    """
    import trl
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer

    name = method.upper()
    args = getattr(trl, f"{name}Config")(
        str(out), bf16=False, gradient_checkpointing=False, **{**SAME, **config}
    )
    policy = model or AutoModelForCausalLM.from_pretrained(start, dtype=torch.float32)
    frozen = reference and AutoModelForCausalLM.from_pretrained(reference, dtype=torch.float32)
    return getattr(trl, f"{name}Trainer")(
        policy,
        ref_model=frozen,
        args=args,
        train_dataset=Dataset.from_list(rows),
        eval_dataset=held_out and Dataset.from_list(held_out),
        processing_class=AutoTokenizer.from_pretrained(start),
    )


def trl_step(start: Path, rows: Rows, out: Path, **more: Any) -> tuple[dict[str, float], Any]:
    """TRL's metrics of the first step, and the parameters after the last."""
    trainer = trl_trainer(start, rows, out, **more)
    trainer.train()
    return trainer.state.log_history[0], trainer.model.state_dict()


def prefine_step(
    start: Path,
    rows: Rows,
    out: Path,
    objective: str = "dpo",
    *,
    model: Any = None,
    reference: Any = "auto",
    training: dict[str, Any] | None = None,
    **config: Any,
) -> tuple[dict[str, float], dict[str, torch.Tensor], Any]:
    """Train as `prefine train` does, without its report.

    Args:
        start: Folder of model and tokenizer.
        rows: What to train on.
        out: An absent folder.
        objective: Name of the objective.
        model: The policy, if it is not the model in `start`.
        reference: What `--reference` takes, or a `Reference`.
        training: Further training arguments.
        **config: Further keys of a run's configuration.

    Returns:
        Metrics of the first step, parameters after the last, and the `RunData`.
    """
    from transformers import TrainingArguments

    from prefine.models import load_policy
    from prefine.runs import RunFolder
    from prefine.training.config import parse
    from prefine.training.plan import prepare
    from prefine.training.reference import choose_reference
    from prefine.training.trainer import PreferenceTrainer

    out.mkdir(parents=True)
    data = out / "rows.jsonl"
    data.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    settings = {"objective": objective, "model": str(start), "data": str(data), "out": str(out)}
    run = parse({**settings, "holdout": 0, **config})
    plan = prepare(run, RunFolder(out), quiet=True)
    policy, lookup = model or plan.model, None
    if isinstance(reference, str | Path):
        reference, lookup = choose_reference(
            str(reference),
            needed=plan.declared.needs.reference,
            model=policy,
            adapter=plan.adapter,
            name=run.model,
            rows=list(plan.data.train.epochs(0)),
            load=lambda name: load_policy(name, dtype=run.dtype),
        )
    plan.data.train.reference = lookup
    steps: list[dict[str, float]] = []
    trainer = PreferenceTrainer(
        policy,
        adapter=plan.adapter,
        objective=plan.objective,
        args=TrainingArguments(str(out / "checkpoints"), **{**SAME, **(training or {})}),
        train_dataset=plan.data.train,
        reference=reference,
        on_step=steps.append,
    )
    trainer.train()
    return steps[0], policy.state_dict(), plan.data


def prefine_evaluates(
    start: Path, rows: Rows, out: Path, reference: Path, batch: int
) -> dict[str, float]:
    """prefine's held-out metrics of a model that has not trained."""
    from functools import partial

    from transformers import TrainingArguments

    from prefine.adapters import CausalLM
    from prefine.models import load_policy, load_tokenizer
    from prefine.objectives import dpo
    from prefine.records import load
    from prefine.training.reference import ModuleReference
    from prefine.training.rows import EncodedRows
    from prefine.training.trainer import PreferenceTrainer

    adapter = CausalLM(load_tokenizer(str(start)))
    encoded = adapter.prepare(load(rows, rejects=out / "rejects.jsonl").pairs()).dataset
    trainer = PreferenceTrainer(
        load_policy(str(start)),
        adapter=adapter,
        objective=partial(dpo, beta=0.1),
        args=TrainingArguments(str(out), per_device_eval_batch_size=batch, **SAME),
        eval_dataset=EncodedRows(lambda _: encoded, len(encoded)),
        reference=ModuleReference(
            load_policy(str(reference)), adapter, "another model", is_initial_policy=False
        ),
    )
    return trainer.evaluate()


def trl_evaluates(
    start: Path, rows: Rows, out: Path, reference: Path, batch: int
) -> dict[str, float]:
    """TRL's held-out metrics of a model that has not trained."""
    trainer = trl_trainer(
        start, rows, out, reference=reference, held_out=rows, per_device_eval_batch_size=batch
    )
    return trainer.evaluate()


def main() -> None:
    """`peers.py START ROWS OUT REFERENCE BATCH`, as one of several processes."""
    start, rows, out, reference = (Path(given) for given in sys.argv[1:5])
    batch, held_out = int(sys.argv[5]), json.loads(rows.read_text(encoding="utf-8"))
    said = {
        "trl": trl_evaluates(start, held_out, out / "trl", reference, batch),
        "prefine": prefine_evaluates(start, held_out, out / "prefine", reference, batch),
    }
    if os.environ["RANK"] == "0":
        (out / "said.json").write_text(json.dumps(said), encoding="utf-8")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
