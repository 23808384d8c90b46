"""One training run, from a configuration to a folder: what `prefine train` calls."""

import platform
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import ConcatDataset
from transformers import TrainerCallback, TrainingArguments, set_seed

from prefine.adapters import CausalLM, SequenceReward
from prefine.engine import Choice, choose_layout, weights_hash
from prefine.engine.packed import base_of
from prefine.errors import ConfigError, RunFolderError
from prefine.models import load_policy, load_reward_model, load_tokenizer
from prefine.objectives import registry
from prefine.objectives.declare import Spec, spec
from prefine.runs import RunFolder
from prefine.storage import json_hash, write_json
from prefine.training.config import RunConfig
from prefine.training.data import RunData, load_data
from prefine.training.distributed import check_fsdp, is_main, main_first, uses_fsdp
from prefine.training.estimate import advice, epoch_batches, estimate_step
from prefine.training.features import cached_features, freeze_trunk
from prefine.training.moving_reference import MovingReference
from prefine.training.progress import quieten, use_quiet_progress
from prefine.training.reference import (
    Identity,
    ModuleReference,
    Reference,
    choose_reference,
    without_dropout,
)
from prefine.training.trainer import PreferenceTrainer

DEFAULT_RATES = {"sft": 2e-5, "reward": 1e-5, "policy": 1e-6}
LORA_FACTOR = 10
"""Adapters want a larger rate than full fine-tuning; both are printed in the header."""

PACKAGES = ("prefine", "torch", "transformers", "accelerate", "peft", "datasets")


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run ended with.

    Attributes:
        folder: The run's folder.
        summary: Facts, final metrics as `Stat`s in JSON form, and what was set aside.
    """

    folder: Path
    summary: dict[str, Any]


@dataclass
class Plan:
    """The parts of a run, before the first step."""

    config: RunConfig
    objective: Any
    declared: Spec
    adapter: CausalLM | SequenceReward
    model: Any
    tokenizer: Any
    data: RunData
    folder: RunFolder


def train(
    config: RunConfig, *, resume: bool = False, quiet: bool = False, notes: Sequence[str] = ()
) -> RunResult:
    """Train, evaluate and report.

    Args:
        config: The run.
        resume: Go on with the run in `config.out`, from its newest whole checkpoint.
        quiet: Show no progress.
        notes: What else the header says.

    Returns:
        The run's folder and its summary (also in `summary.json`).

    Raises:
        RunFolderError: If the folder is not empty and `resume` is false.
        ConfigError: If the configuration makes no sense, or differs from the resumed run's.
    """
    folder = _open(config, resume)
    if quiet:
        quieten()
    plan = prepare(config, folder, quiet=quiet)
    reference, lookup = choose_reference(
        config.reference,
        needed=plan.declared.needs.reference,
        model=plan.model,
        adapter=plan.adapter,
        name=config.model,
        rows=_all_rows(plan.data, _arguments(config, plan, quiet)),
        load=lambda name: load_policy(name, dtype=config.dtype),
        elements=bool(plan.declared.needs.of_reference.elements),
        at_hand=_at_hand(config),
        autocast=_autocast(config),
        progress=not quiet,
    )
    features = None
    if config.head_only:
        rows = _all_rows(plan.data, _arguments(config, plan, quiet))
        features = cached_features(rows, plan.model, plan.adapter, progress=not quiet)  # type: ignore[arg-type]
    for rows in (plan.data.train, plan.data.held_out):
        if rows is not None:
            rows.reference, rows.features = lookup, features
    header = describe(plan, reference.identity)
    header["notes"] = [*header["notes"], *notes]
    if is_main():
        _announce(plan, header, quiet)
        if not folder.config_file.is_file():
            folder.write_config({**config.model_dump(), "header": header})
    return _run(plan, reference, header, resume=resume, quiet=quiet)


def _autocast(config: RunConfig) -> torch.dtype | None:
    """What products are computed in, where it is not the weights' own type."""
    training = config.training
    return (
        torch.bfloat16 if training.get("bf16") else torch.float16 if training.get("fp16") else None
    )


def _at_hand(config: RunConfig) -> Callable[..., ModuleReference]:
    update = config.reference_update
    if update is None:
        return ModuleReference
    return partial(MovingReference, every=update.every, mix=update.mix)


def dry_run(config: RunConfig) -> dict[str, Any]:
    """Load and check everything, show a sample, train nothing and leave nothing behind."""
    import tempfile

    if RunFolder(config.out).is_filled():
        raise RunFolderError(f"{config.out} is not empty: a run would refuse it without --resume.")
    with tempfile.TemporaryDirectory() as scratch:
        elsewhere = config.model_copy(update={"out": scratch})
        plan = prepare(elsewhere, RunFolder(scratch), quiet=True)
        args = _arguments(config, plan, quiet=True)
        needs = plan.declared.needs.reference
        who = Identity("chosen when it trains" if needs else "none", config.reference, "", False)
        header = describe(plan, who)
        _announce(plan, header, quiet=False)
        header["estimate"] = None if config.head_only else _estimate(plan, args)
    return header


def _estimate(plan: Plan, args: TrainingArguments) -> dict[str, Any]:
    """What an epoch takes, and what to change where memory does not suffice."""
    config, adapter = plan.config, plan.adapter
    batches = epoch_batches(plan.data.train.epochs(0), args)
    budget = None if uses_fsdp() else config.token_budget
    parts = [part for batch in batches for part in adapter.split(batch, budget)]
    model = plan.model.to(args.device)
    without_dropout(model)
    checkpointed = bool(args.gradient_checkpointing)
    if checkpointed:
        base_of(model).activation_checkpointing_enable(args.gradient_checkpointing_kwargs)
    steps = max(1, -(-len(batches) // args.gradient_accumulation_steps))
    found = estimate_step(model, adapter, parts, steps=steps, autocast=_autocast(config))
    changes = [] if found.memory is None else advice(
        found.memory, rows=max(map(len, parts)), checkpointed=checkpointed,
        lora=config.lora is not None, dtype=str(model.dtype).removeprefix("torch."),
    )  # fmt: skip
    return {**found.to_json(), "advice": changes}


def prepare(config: RunConfig, folder: RunFolder, *, quiet: bool = False) -> Plan:
    """Build everything a run needs short of the reference."""
    set_seed(config.seed)
    name = "bradley_terry" if config.objective == "reward" else config.objective
    objective = registry.build(name, config.options)
    declared = spec(objective)
    tokenizer = load_tokenizer(config.model, config.revision)
    adapter = _adapter(config, name, tokenizer, progress=not quiet)
    with main_first():
        data = load_data(config, declared, adapter, name=name)
    if "rater" in declared.needs.columns and "num_raters" not in config.options:
        count = max(1, len(data.train_view.raters))
        objective = registry.build(name, {**config.options, "num_raters": count})
    set_seed(config.seed)
    if isinstance(adapter, SequenceReward):
        model = load_reward_model(
            config.model, dtype=config.dtype, revision=config.revision, tokenizer=tokenizer
        )
    else:
        model = load_policy(config.model, dtype=config.dtype, revision=config.revision)
    if config.lora is not None:
        model = _with_lora(model, config, reward=isinstance(adapter, SequenceReward))
    if config.head_only:
        _check_head_only(config, adapter)
        freeze_trunk(model)
    adapter, note = _laid_out(config, adapter, model)
    notes = (note, _about_memory(config), _about_sharing(adapter, data), _about_experts(model))
    data.notes += [note for note in notes if note]
    return Plan(config, objective, declared, adapter, model, tokenizer, data, folder)


def _laid_out(config: RunConfig, adapter: Any, model: Any) -> tuple[Any, str]:
    """The adapter with the layout of the run, and what is to be said about it."""
    if config.layout == "padded":
        return adapter, ""
    reward = isinstance(adapter, SequenceReward)
    choice = Choice("padded", "FSDP shards it") if uses_fsdp() else choose_layout(model, reward)
    if choice.layout == "packed":
        return replace(adapter, layout="packed"), ""
    if config.layout == "packed":
        raise ConfigError(f"layout=packed: {choice.reason}. Leave it at auto.")
    return adapter, f"prompts are computed once for each response: {choice.reason}"


def _check_head_only(config: RunConfig, adapter: Any) -> None:
    if not isinstance(adapter, SequenceReward):
        raise ConfigError("head_only trains a reward model's head; a policy has none. Remove it.")
    if config.lora is not None:
        raise ConfigError("head_only freezes the trunk, and lora trains it. Choose one.")


def _about_sharing(adapter: Any, data: RunData) -> str:
    """Why packed rows share nothing, where no prompt has several responses."""
    prompts = {
        tuple(prompt) for row in data.train.epochs(0) for prompt in row["prompt"]
    } if adapter.layout == "packed" else set()  # fmt: skip
    items = sum(len(row["prompt"]) for row in data.train.epochs(0)) if prompts else 0
    alone = prompts and len(prompts) == items
    return "every prompt has one response: packed without sharing" if alone else ""


def _about_experts(model: Any) -> str:
    """What is left out where a configuration asks for a loss on the router."""
    config = model.config.get_text_config()
    asked = getattr(config, "output_router_logits", False)
    if not asked or not getattr(config, "router_aux_loss_coef", 0):
        return ""
    return "the router's auxiliary loss (router_aux_loss_coef) is no part of an objective: left out"


def _about_memory(config: RunConfig) -> str:
    """What is to be said about the options that bound memory.

    Raises:
        ConfigError: If there is nothing to move activations away from.
    """
    if config.offload_activations and not torch.accelerator.is_available():
        raise ConfigError(
            "offload_activations moves activations from an accelerator to the host's memory, but "
            "this machine has no accelerator. Set training.gradient_checkpointing=true instead."
        )
    if uses_fsdp() and config.token_budget is not None:
        return "token_budget is not used under FSDP, whose processes compute equally many parts"
    return ""


def describe(plan: Plan, reference: Identity) -> dict[str, Any]:
    """Return the run's header: everything a reader must know to trust or repeat it."""
    config = plan.config
    trainable = sum(p.numel() for p in plan.model.parameters() if p.requires_grad)
    return {
        "objective": config.objective,
        "formula": plan.declared.formula,
        "reference": str(reference),
        "model": config.model,
        "weights": weights_hash(plan.model),
        "parameters": sum(p.numel() for p in plan.model.parameters()),
        "trainable": trainable,
        "dtype": str(next(plan.model.parameters()).dtype).removeprefix("torch."),
        "adapter": plan.adapter.fingerprint(),
        "layout": plan.adapter.layout,
        "unit": plan.adapter.unit,
        "data": plan.data.facts,
        "rows": {
            "train": len(plan.data.train),
            "held_out": 0 if plan.data.held_out is None else len(plan.data.held_out),
        },
        "set_aside": dict(plan.data.set_aside),
        "notes": list(plan.data.notes),
        "seed": config.seed,
        "versions": {name: version(name) for name in PACKAGES}
        | {"python": platform.python_version()},
        "device": "cuda" if torch.cuda.is_available() else "cpu",
    }


def _run(
    plan: Plan, reference: Reference, header: dict[str, Any], *, resume: bool, quiet: bool
) -> RunResult:
    folder, args = plan.folder, _arguments(plan.config, plan, quiet)
    checkpoint, torn = folder.last_checkpoint() if resume else (None, [])
    for name in torn:
        print(f"skipped {name}: it was not written to the end", file=sys.stderr)
    if is_main() and resume:
        folder.cut_back(int(checkpoint.name.split("-")[-1]) if checkpoint else 0)
    trainer = PreferenceTrainer(
        plan.model,
        adapter=plan.adapter,
        objective=plan.objective,
        args=args,
        train_dataset=plan.data.train,
        eval_dataset=plan.data.held_out,
        reference=reference,
        token_budget=None if uses_fsdp() else plan.config.token_budget,
        offload=plan.config.offload_activations,
        on_step=folder.append,
        processing_class=plan.tokenizer,
        callbacks=[],
    )
    check_fsdp(trainer)
    use_quiet_progress(trainer)
    with _interruptible(trainer):
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if trainer.interrupted:  # type: ignore[attr-defined]
        raise KeyboardInterrupt(f"stopped at step {trainer.state.global_step}; go on with --resume")
    summary = dict(header)
    summary["steps"] = trainer.state.global_step
    # These bring scipy: half a second that nothing before the first step needs.
    from prefine.training.outcome import evaluate_run
    from prefine.training.report import write_report
    from prefine.training.saving import save_model

    outcome = evaluate_run(plan, trainer)
    summary["metrics"] = {name: stat.to_json() for name, stat in outcome.metrics.items()}
    save_model(plan, trainer, summary, outcome)
    if is_main():
        write_json(folder.path / "summary.json", summary)
        write_report(plan, summary, outcome)
    trainer.accelerator.wait_for_everyone()
    return RunResult(folder.path, summary)


def _open(config: RunConfig, resume: bool) -> RunFolder:
    folder = RunFolder(config.out)
    if is_main():
        folder.open(resume=resume)
    if not (resume and folder.config_file.is_file()):
        return folder
    earlier = {k: v for k, v in folder.read_config().items() if k != "header"}
    changed = [
        key
        for key, value in config.model_dump().items()
        if key != "out" and json_hash(earlier.get(key)) != json_hash(value)
    ]
    if changed:
        raise RunFolderError(
            f"{config.out} holds a run with another {', '.join(changed)}, so going on would mix "
            "two runs. Repeat its options, or name another --out."
        )
    return folder


def _adapter(config: RunConfig, name: str, tokenizer: Any, *, progress: bool) -> Any:
    kind = SequenceReward if name == "bradley_terry" else CausalLM
    return kind(
        tokenizer,
        template=config.template,
        max_length=config.max_length,
        truncate=config.truncate,
        progress=progress,
    )


def _with_lora(model: Any, config: RunConfig, *, reward: bool) -> Any:
    from peft import LoraConfig, TaskType, get_peft_model

    assert config.lora is not None
    lora = LoraConfig(
        r=config.lora.r,
        lora_alpha=config.lora.alpha,  # type: ignore[arg-type]
        lora_dropout=0.0,
        target_modules=config.lora.target_modules,
        task_type=TaskType.SEQ_CLS if reward else TaskType.CAUSAL_LM,
    )
    return get_peft_model(model, lora)


def _arguments(config: RunConfig, plan: Plan, quiet: bool) -> TrainingArguments:
    kind = "reward" if isinstance(plan.adapter, SequenceReward) else "policy"
    kind = "sft" if config.objective == "sft" else kind
    rate = DEFAULT_RATES[kind] * (1 if config.lora is None else LORA_FACTOR)
    values: dict[str, Any] = {
        "learning_rate": rate,
        "num_train_epochs": 1,
        "per_device_train_batch_size": 8,
        "per_device_eval_batch_size": 16,
        "lr_scheduler_type": "linear",
        "warmup_steps": 0.1,
        "logging_steps": 10,
        "save_strategy": "epoch",
        "save_total_limit": 2,
        "eval_strategy": "epoch" if plan.data.held_out is not None else "no",
        "report_to": "none",
        "disable_tqdm": quiet,
        "dataloader_pin_memory": torch.accelerator.is_available(),  # torch warns where it is not
        **config.training,
    }
    if values["eval_strategy"] not in ("no", None) and plan.data.held_out is None:
        raise ConfigError(
            "training.eval_strategy: there is no held-out data. Set eval_data or holdout."
        )
    try:
        return TrainingArguments(
            output_dir=str(plan.folder.checkpoints), seed=config.seed, **values
        )
    except ValueError as error:
        raise ConfigError(f"training: transformers refuses these arguments. {error}") from error


def _all_rows(data: RunData, args: TrainingArguments) -> Sequence[Mapping[str, Any]]:
    """Every row that will be scored under the reference, in a fixed order, none in memory."""
    import math

    epochs = math.ceil(args.num_train_epochs)
    seen: dict[int, list[Mapping[str, Any]]] = {}
    for epoch in range(epochs):
        rows = data.train.epochs(epoch)
        seen[id(rows)] = rows  # type: ignore[assignment]
    if data.held_out is not None:
        rows = data.held_out.epochs(0)
        seen[id(rows)] = rows  # type: ignore[assignment]
    return ConcatDataset(list(seen.values()))  # type: ignore[return-value]


def _announce(plan: Plan, header: Mapping[str, Any], quiet: bool) -> None:
    lines = [
        f"objective   {header['objective']}: {header['formula']}",
        f"reference   {header['reference']}",
        f"model       {header['model']} ({header['trainable']:,} of {header['parameters']:,} "
        f"parameters trained, {header['dtype']})",
        f"data        {header['data']['data']} ({header['data']['format']}, "
        f"{header['data']['records']} records, {header['data']['rejects']} unreadable)",
        f"rows        {header['rows']['train']} to train on, {header['rows']['held_out']} held out",
    ]
    lines += [f"set aside   {count}: {reason}" for reason, count in header["set_aside"].items()]
    lines += [f"note        {note}" for note in header["notes"]]
    lines += ["sample      scored text stands in ⟦ ⟧", plan.data.sample]
    if not quiet:
        print("\n".join(lines), file=sys.stderr)


@contextmanager
def _interruptible(trainer: PreferenceTrainer) -> Iterator[None]:
    """The first Ctrl-C ends the step, saves and stops; the second stops at once."""
    trainer.interrupted = False  # type: ignore[attr-defined]

    class SaveAndStop(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
            if trainer.interrupted:  # type: ignore[attr-defined]
                control.should_save = control.should_training_stop = True
            return control

    def stop(number: int, frame: Any) -> None:
        if trainer.interrupted:  # type: ignore[attr-defined]
            raise KeyboardInterrupt
        trainer.interrupted = True  # type: ignore[attr-defined]
        print("\nstopping after this step; Ctrl-C again to stop at once", file=sys.stderr)

    trainer.add_callback(SaveAndStop())
    try:
        before = signal.signal(signal.SIGINT, stop)
    except ValueError:  # not the main thread: the caller handles interrupts
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
