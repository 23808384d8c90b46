"""Progress on standard error; standard output belongs to results."""

from typing import Any

from transformers import PrinterCallback, ProgressCallback

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


def quieten() -> None:
    """Show no bars while models are loaded and saved."""
    from transformers.utils import logging

    logging.disable_progress_bar()
