"""What a run that has ended must say of itself: settings that could not do what they are for."""

import sys
from collections.abc import Iterator

from transformers import TrainingArguments

from prefine.training.distributed import is_main
from prefine.training.stop_rules import StopRule

UNWARMED = ("constant", "reduce_lr_on_plateau")
"""Schedules without a warm-up."""


def remarks(args: TrainingArguments, steps: int, rule: StopRule | None) -> list[str]:
    """Return sentences for a run's notes, after they were said on standard error.

    Args:
        args: Of the run.
        steps: Of the optimizer, from the first to the last of a whole run.
        rule: By which it would have stopped, or None.
    """
    found = [*_about_warm_up(args, steps), *_about_stopping(rule)]
    if is_main():
        for remark in found:
            print(remark, file=sys.stderr)
    return found


def _about_warm_up(args: TrainingArguments, steps: int) -> Iterator[str]:
    if args.lr_scheduler_type in UNWARMED or steps > args.get_warmup_steps(steps):
        return
    rate = "stayed at 0, and nothing was learnt" if steps == 1 else "never reached its value"
    yield (
        f"warm-up took all {steps} steps: the learning rate {rate}. Train longer, or set "
        "training.warmup_steps=0"
    )


def _about_stopping(rule: StopRule | None) -> Iterator[str]:
    if rule is None or not is_main() or rule.alarm or len(rule.steps) >= rule.least:
        return
    yield (
        f"stop_early saw {len(rule.steps)} evaluations and needs {rule.least} to tell anything. "
        "Evaluate more often, training.eval_strategy=steps and training.eval_steps, or train longer"
    )
