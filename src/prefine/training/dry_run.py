"""A run that is checked and measured, and not started."""

import tempfile
from typing import Any

from transformers import TrainingArguments

from prefine.adapters.denoising import Denoising
from prefine.engine.packed import base_of
from prefine.errors import RunFolderError
from prefine.runs import RunFolder
from prefine.training.config import RunConfig
from prefine.training.estimate import advice, epoch_batches, estimate_step
from prefine.training.estimate_pictures import estimate_pictures, picture_advice
from prefine.training.header import announce, describe
from prefine.training.plan import Plan, arguments, autocast_of, prepare
from prefine.training.reference import Identity, without_dropout


def dry_run(config: RunConfig) -> dict[str, Any]:
    """Load and check everything, show a sample, train nothing and leave nothing behind."""
    if RunFolder(config.out).is_filled():
        raise RunFolderError(f"{config.out} is not empty: a run would refuse it without --resume.")
    with tempfile.TemporaryDirectory() as scratch:
        elsewhere = config.model_copy(update={"out": scratch})
        plan = prepare(elsewhere, RunFolder(scratch), quiet=True)
        args = arguments(config, plan, quiet=True)
        needs = plan.declared.needs.reference
        who = Identity("chosen when it trains" if needs else "none", config.reference, "", False)
        header = describe(plan, who)
        announce(plan, header, quiet=False)
        header["estimate"] = None if config.head_only else _estimate(plan, args)
    return header


def _estimate(plan: Plan, args: TrainingArguments) -> dict[str, Any]:
    """What an epoch takes, and what to change where memory does not suffice."""
    config, adapter = plan.config, plan.adapter
    batches, count = epoch_batches(plan.data.train, args)
    model = plan.model.to(args.device)
    without_dropout(model)
    checkpointed = bool(args.gradient_checkpointing)
    if checkpointed:
        base_of(model).activation_checkpointing_enable(args.gradient_checkpointing_kwargs)
    settings: dict[str, Any] = {
        "steps": -(-count // args.gradient_accumulation_steps), "times": count / len(batches),
        "autocast": autocast_of(config),
    }  # fmt: skip
    state = {"checkpointed": checkpointed, "lora": config.lora is not None}
    if isinstance(adapter, Denoising):
        seen = estimate_pictures(model, adapter, batches, **settings)
        rows = max(map(len, batches))
        changes = [] if seen.memory is None else picture_advice(seen.memory, rows=rows, **state)
        return {**seen.to_json(), "advice": changes}
    parts = [part for batch in batches for part in adapter.split(batch, plan.token_budget)]
    found = estimate_step(model, adapter, parts, **settings)
    changes = [] if found.memory is None else advice(
        found.memory, rows=max(map(len, parts)), **state,
        dtype=str(model.dtype).removeprefix("torch."),
    )  # fmt: skip
    return {**found.to_json(), "advice": changes}
