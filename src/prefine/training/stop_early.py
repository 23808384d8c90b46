"""A run that has gone too far is stopped, and its model taken from before it did."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import broadcast
from transformers import TrainerCallback

from prefine.errors import ConfigError
from prefine.objectives.declare import Spec
from prefine.runs import CHECKPOINT, RunFolder
from prefine.training.blocks import StopEarlyConfig
from prefine.training.stop_rules import StopRule


class StopEarly(TrainerCallback):
    """Ends training once the rule gives the alarm; all processes together.

    An interrupt leaves a checkpoint where nothing was evaluated. It goes once there is a newer one,
    or it would push out the one that the rule may go back to.
    """

    def __init__(self, rule: StopRule) -> None:
        self.rule = rule

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Leave the newest checkpoint, and those of evaluations."""
        if not state.is_world_process_zero:
            return
        kept = {f"{CHECKPOINT}{step}" for step in (*self.rule.steps, state.global_step)}
        for path in Path(args.output_dir).glob(f"{CHECKPOINT}*"):
            if path.name not in kept:
                shutil.rmtree(path)

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        """Take no step more where the part that is resumed gave the alarm."""
        return self.on_evaluate(args, state, control)

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        """Look at the rule, which the first process keeps."""
        alarm = torch.tensor(int(self.rule.alarm is not None), device=args.device)
        if int(broadcast(alarm)):  # type: ignore[arg-type]
            control.should_training_stop = True
        return control


def go_back(trainer: Any, rule: StopRule, folder: RunFolder) -> bool:
    """Load what there was at the step that the rule names; False if there was no alarm."""
    step = torch.tensor(rule.back_to or 0, device=trainer.args.device)
    found = int(broadcast(step))  # type: ignore[arg-type]
    if found:
        trainer.go_back(folder.checkpoints / f"{CHECKPOINT}{found}")
    return found > 0


def refuse_unwatched(config: StopEarlyConfig, declared: Spec, unit: str) -> None:
    """Refuse runs without the signals.

    Raises:
        ConfigError: If there is no margin, or there are no tokens, and the rule reads them.
    """
    if config.by == "likelihood" and (declared.data == "point" or unit != "nats"):
        raise ConfigError(
            "stop_early watches the margin and the likeliest tokens of a language model that is "
            "trained on pairs or lists; this run has none. Set stop_early.by=loss, or remove it."
        )


def stopping_arguments(
    values: Mapping[str, Any], given: Mapping[str, Any], window: int
) -> dict[str, Any]:
    """Return arguments that leave a checkpoint at each evaluation, as many as may be wanted.

    Args:
        values: Arguments of transformers, ours and those of the user.
        given: Those of the user.
        window: Evaluations over which a signal must fall.

    Raises:
        ConfigError: If there are no evaluations, checkpoints are asked for at other steps, or too
            few would be kept.
    """
    strategy, steps = values["eval_strategy"], values.get("eval_steps") or values["logging_steps"]
    if strategy in ("no", None):
        raise ConfigError(
            "stop_early reads evaluations: hold data out, and set training.eval_strategy=steps "
            "and training.eval_steps."
        )
    wanted = {"save_strategy": strategy}
    wanted |= {"eval_steps": steps, "save_steps": steps} if strategy == "steps" else {}
    for name in wanted.keys() & given.keys():
        if given[name] != wanted[name]:
            raise ConfigError(
                f"training.{name}={given[name]}: stop_early takes the model from an evaluation "
                f"step, so one must be saved at each. Leave it out, or set {wanted[name]}."
            )
    most = window + 2  # evaluations, and an interrupt
    kept = given.get("save_total_limit", most)
    if kept is not None and kept < most:
        raise ConfigError(
            f"training.save_total_limit={kept}: to go back over stop_early.window={window} "
            f"evaluations, with an interrupt among them, {most} checkpoints must be kept."
        )
    return {**wanted, "save_total_limit": kept}
