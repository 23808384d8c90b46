"""Checkpoints that are whole or absent, with the objective's state in them."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from transformers.trainer_utils import rotate_checkpoints

from prefine.errors import RunFolderError
from prefine.objectives.declare import Stateful
from prefine.runs import CHECKPOINT, PART, seal
from prefine.storage import write_json

if TYPE_CHECKING:
    from prefine.training.trainer import PreferenceTrainer

OBJECTIVE_STATE = "objective_state.json"


class Saved(Protocol):
    """Weights that are no part of the model: a moving reference, a head that is thrown away."""

    def save(self, checkpoint: Path) -> None:
        """Write them into a checkpoint."""
        ...

    def load(self, checkpoint: Path) -> None:
        """Read them back."""
        ...


def save_whole(
    trainer: "PreferenceTrainer",
    save: Callable[[], None],
    states: Sequence[dict[str, Any]],
    beside: Sequence[Saved] = (),
) -> None:
    """Let the Trainer write into a temporary folder, complete it, and rename it.

    Args:
        trainer: Whose checkpoint it is.
        save: The Trainer's own saving.
        states: State of each stateful objective, JSON values.
        beside: What else has weights that change while training runs.
    """
    args, step = trainer.args, trainer.state.global_step
    home = Path(args.output_dir)  # type: ignore[arg-type]
    part = home / f"{CHECKPOINT}{step}{PART}"
    if args.should_save:
        shutil.rmtree(part, ignore_errors=True)
    trainer.accelerator.wait_for_everyone()
    args.output_dir = str(part)
    try:
        save()
    finally:
        args.output_dir = str(home)
    trainer.accelerator.wait_for_everyone()
    if args.should_save:
        written, final = part / f"{CHECKPOINT}{step}", home / f"{CHECKPOINT}{step}"
        write_json(written / OBJECTIVE_STATE, list(states))
        for each in beside:
            each.save(written)
        best = home / f"{CHECKPOINT}{trainer.state.best_global_step}"
        if trainer.state.best_global_step and (best == final or best.is_dir()):
            trainer.state.best_model_checkpoint = str(best)
            trainer.state.save_to_json(str(written / "trainer_state.json"))
        seal(written)
        if final.exists():
            shutil.rmtree(final)
        written.replace(final)
        shutil.rmtree(part, ignore_errors=True)
        rotate_checkpoints(
            output_dir=str(home),
            save_total_limit=args.save_total_limit,
            best_model_checkpoint=trainer.state.best_model_checkpoint,
            use_mtime=True,
        )
    trainer.accelerator.wait_for_everyone()


def load_objective(checkpoint: Path, objectives: Sequence[Stateful]) -> None:
    """Load the objective's state back.

    Raises:
        RunFolderError: If the checkpoint holds another number of states.
    """
    path = checkpoint / OBJECTIVE_STATE
    states = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    if len(states) != len(objectives):
        raise RunFolderError(
            f"{checkpoint.name} holds the state of {len(states)} objectives, but this run has "
            f"{len(objectives)}. Resume with the objective that the run was started with."
        )
    for objective, state in zip(objectives, states, strict=True):
        objective.load_state_dict(state)
