"""Progress on standard error; standard output belongs to results."""

import sys
from typing import Any

from transformers import PrinterCallback, ProgressCallback, TrainingArguments

from prefine.training.distributed import is_main

SHOWN = {
    "loss": "loss",
    "rewards/accuracies": "accuracy",
    "rewards/margins": "margin",
    "eval_loss": "held-out loss",
}


class Progress(ProgressCallback):
    """A progress bar with the few numbers that tell whether a run is healthy."""

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Show them beside the bar, rather than print every number of the log."""
        if state.is_world_process_zero and self.training_bar is not None:
            shown = {word: f"{logs[name]:.3g}" for name, word in SHOWN.items() if name in logs}
            if shown:
                self.training_bar.set_postfix(shown)


def use_quiet_progress(trainer: Any) -> None:
    """Replace what the Trainer prints."""
    trainer.remove_callback(PrinterCallback)
    if not trainer.args.disable_tqdm:
        trainer.remove_callback(ProgressCallback)
        trainer.add_callback(Progress())


def all_warm_up(args: TrainingArguments, steps: int) -> list[str]:
    """Say on standard error, and return, that a run was no longer than its warm-up.

    Args:
        args: Of the run.
        steps: Of the optimizer, from the first to the last of a whole run.
    """
    warm = args.get_warmup_steps(steps)
    if args.lr_scheduler_type in ("constant", "reduce_lr_on_plateau") or steps > warm:
        return []
    rate = "stayed at 0, and nothing was learnt" if steps == 1 else "never reached its value"
    note = (
        f"warm-up took all {steps} steps: the learning rate {rate}. Train longer, or set "
        "training.warmup_steps=0"
    )
    if is_main():
        print(note, file=sys.stderr)
    return [note]


def quieten() -> None:
    """Show no bars while models are loaded and saved."""
    from transformers.utils import logging

    logging.disable_progress_bar()
