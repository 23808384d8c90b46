"""One training run, from a configuration to a folder: what `prefine train` calls."""

import math
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch.utils.data import ConcatDataset
from transformers import TrainerCallback, TrainingArguments

from prefine.errors import RunFolderError
from prefine.objectives.declare import Stateful
from prefine.runs import RunFolder
from prefine.storage import json_hash, write_json
from prefine.training.chasing import ChasingTrainer
from prefine.training.config import RunConfig
from prefine.training.data import RunData
from prefine.training.degree_head import attach_head
from prefine.training.distributed import check_fsdp, is_main
from prefine.training.features import cached_features
from prefine.training.header import announce, describe
from prefine.training.mixing import Mixing
from prefine.training.moving_reference import MovingReference
from prefine.training.plan import Plan, arguments, autocast_of, prepare
from prefine.training.progress import quieten, use_quiet_progress
from prefine.training.reference import ModuleReference, Reference, choose_reference
from prefine.training.remarks import remarks
from prefine.training.rows import EncodedRows
from prefine.training.shown import draw_shown
from prefine.training.stop_early import StopEarly, go_back
from prefine.training.stop_rules import RULES
from prefine.training.trainer import PreferenceTrainer


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run ended with.

    Attributes:
        folder: The run's folder.
        summary: Facts, final metrics as `Stat`s in JSON form, and what was set aside.
    """

    folder: Path
    summary: dict[str, Any]


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
        rows=_all_rows(plan.data, arguments(config, plan, quiet)),
        load=plan.load_reference,
        elements=bool(plan.declared.needs.of_reference.elements),
        at_hand=_at_hand(config),
        autocast=autocast_of(config),
        progress=not quiet,
    )
    features = None
    if config.head_only:
        rows = _all_rows(plan.data, arguments(config, plan, quiet))
        features = cached_features(rows, plan.model, plan.adapter, progress=not quiet)  # type: ignore[arg-type]
    for rows in (plan.data.train, plan.data.held_out, _target(plan.data)):
        if rows is not None:
            rows.reference, rows.features = lookup, features
    header = describe(plan, reference.identity)
    header["notes"] = [*header["notes"], *notes]
    if is_main():
        announce(plan, header, quiet)
        if not folder.config_file.is_file():
            folder.write_config({**config.model_dump(), "header": header})
    return _run(plan, reference, header, resume=resume, quiet=quiet)


def _at_hand(config: RunConfig) -> Callable[..., ModuleReference]:
    update = config.reference_update
    if update is None:
        return ModuleReference
    return partial(MovingReference, every=update.every, mix=update.mix)


def _run(
    plan: Plan, reference: Reference, header: dict[str, Any], *, resume: bool, quiet: bool
) -> RunResult:
    folder, args = plan.folder, arguments(plan.config, plan, quiet)
    checkpoint, torn = folder.last_checkpoint() if resume else (None, [])
    for name in torn:
        print(f"skipped {name}: it was not written to the end", file=sys.stderr)
    if is_main() and resume:
        folder.cut_back(int(checkpoint.name.split("-")[-1]) if checkpoint else 0)
    stop = plan.config.stop_early
    rule = None if stop is None else RULES[stop.by](stop.window)
    if rule is not None:
        rule.see_all(folder.metrics())  # of the part that was trained before

    def keep(row: Mapping[str, Any]) -> None:
        folder.append(row)
        if rule is not None:
            rule.see(row)

    if (degrees := plan.config.degrees) is not None:
        attach_head(plan.model, degrees.steps + 1, degrees.learning_rate)
    chase = plan.config.chase
    kind = PreferenceTrainer if chase is None else partial(ChasingTrainer, chase=chase)
    trainer: PreferenceTrainer = kind(
        plan.model,
        adapter=plan.adapter,
        objective=plan.terms,
        args=args,
        train_dataset=plan.data.train,
        eval_dataset=plan.data.held_out,
        reference=reference,
        token_budget=plan.token_budget,
        offload=plan.config.offload_activations,
        mixing=_mixing(plan),
        on_step=keep,
        processing_class=plan.tokenizer,
        callbacks=[] if rule is None else [StopEarly(rule)],
    )
    check_fsdp(trainer)
    before = draw_shown(plan, plan.denoising.show)
    use_quiet_progress(trainer)
    with _interruptible(trainer):
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if trainer.interrupted:  # type: ignore[attr-defined]
        raise KeyboardInterrupt(f"stopped at step {trainer.state.global_step}; go on with --resume")
    summary = dict(header)
    summary["steps"] = trainer.state.global_step
    if rule is not None and go_back(trainer, rule, folder):
        summary["notes"] = [*summary["notes"], rule.told()]
        summary["stopped"] = {"alarm": rule.alarm, "model_of_step": rule.back_to}
        if not quiet and is_main():
            print(rule.told(), file=sys.stderr)
    summary["notes"] = [*summary["notes"], *remarks(args, trainer.state.max_steps, rule)]
    if isinstance(trainer, ChasingTrainer):
        summary["chase"] = trainer.keep_fast()
    summary |= learnt(plan, trainer)
    # These bring scipy: half a second that nothing before the first step needs.
    from prefine.training.held_out import held_out_rows
    from prefine.training.outcome import evaluate_run
    from prefine.training.report import write_report
    from prefine.training.saving import save_model

    outcome = evaluate_run(plan, trainer, before)
    summary["metrics"] = {name: stat.to_json() for name, stat in outcome.metrics.items()}
    save_model(plan, trainer, summary, outcome)
    if is_main():
        if plan.data.held_out is not None:
            folder.write_held_out(held_out_rows(plan.data.held_out_view.rows, outcome))
        write_json(folder.summary_file, summary)
        write_report(plan, summary, outcome)
    trainer.accelerator.wait_for_everyone()
    return RunResult(folder.path, summary)


def _mixing(plan: Plan) -> Mixing | None:
    if plan.data.sources is None or plan.config.mixing is None:
        return None
    return Mixing(plan.data.sources, plan.config.mixing, plan.config.seed)


def learnt(plan: Plan, trainer: PreferenceTrainer) -> dict[str, Any]:
    """What a run keeps a count of: states by term, belief in raters, rows drawn by source."""
    states = {
        term.name: term.objective.state_dict()
        for term in trainer.terms
        if isinstance(term.objective, Stateful)
    }
    found: dict[str, Any] = {"learnt": states} if states else {}
    if trainer.mixing is not None and trainer.mixing.draws is not None:
        found["drawn"] = trainer.mixing.draws.told(trainer.mixing.sources.names)
    for state in states.values():
        if "eta" in state and (raters := plan.data.train_view.raters):
            found["raters"] = dict(zip(raters, state["eta"], strict=False))
    return found


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


def _all_rows(data: RunData, args: TrainingArguments) -> Sequence[Mapping[str, Any]]:
    """Every row that will be scored under the reference, in a fixed order, none in memory."""
    epochs = _epochs(len(data.train), args)
    once = [rows for rows in (data.held_out, _target(data)) if rows is not None]
    parts = [_Epoch(data.train, epoch) for epoch in range(epochs)]
    parts += [_Epoch(rows, 0) for rows in once]
    distinct = {part.key: part for part in parts}
    return ConcatDataset(list(distinct.values()))  # type: ignore[return-value]


def _epochs(rows: int, args: TrainingArguments) -> int:
    """How many epochs are begun, as transformers counts them: `max_steps` goes first."""
    if args.max_steps <= 0:
        return math.ceil(args.num_train_epochs)
    batches = math.ceil(rows / (args.train_batch_size * args.world_size))
    return math.ceil(args.max_steps / math.ceil(batches / args.gradient_accumulation_steps))


def _target(data: RunData) -> EncodedRows | None:
    """The set that sources are mixed towards."""
    return None if data.sources is None else data.sources.target


class _Epoch(Sequence[Mapping[str, Any]]):
    """The rows of an epoch, with their seeds."""

    def __init__(self, rows: EncodedRows, epoch: int) -> None:
        self.rows, self.epoch = rows, epoch

    @property
    def key(self) -> tuple[int, int, int]:
        """Epochs of one key hold the same items, drawn alike."""
        seeds, epoch = self.rows.seeds, self.epoch
        drawn = 0 if seeds is None else epoch % seeds
        return id(self.rows), epoch if self.rows.anew else 0, drawn

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, at: Any) -> Any:
        """Return a row, as far as a reference reads it."""
        return self.rows.alone((self.epoch, at, True))


@contextmanager
def _interruptible(trainer: PreferenceTrainer) -> Iterator[None]:
    """The first Ctrl-C ends the step, saves and stops; the second stops at once."""
    trainer.interrupted = False  # type: ignore[attr-defined]

    class SaveAndStop(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if trainer.interrupted:  # type: ignore[attr-defined]
                control.should_save = control.should_training_stop = True

        def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if trainer.interrupted and state.epoch % 1:  # type: ignore[attr-defined]
                control.should_evaluate = False  # transformers takes a stop for the end of an epoch

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
