"""A run that has gone too far is stopped, and its model taken from before it did.

The sign is that of arXiv:2410.11677: what the ten likeliest tokens hold of entropy and probability
falls from evaluation to evaluation, while the margin on the training pairs still grows.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from accelerate.utils import broadcast
from transformers import TrainerCallback

from prefine.errors import ConfigError
from prefine.objectives.declare import Spec
from prefine.runs import CHECKPOINT, RunFolder

SIGNALS = ("top_entropy", "top_mass")
MARGIN = "rewards/margins"


class StopRule:
    """Reads rows of metrics, and says from which step the model must be taken.

    Args:
        window: Evaluations over which a signal must fall.

    Attributes:
        alarm: Step of the evaluation that gave the alarm, or None.
        back_to: Step of the last evaluation before the signals fell, or None.

    Example:
        >>> rule = StopRule(2)
        >>> for step, held in ((1, 0.9), (2, 0.8)):
        ...     rule.see({"step": step, "rewards/margins": 0.1 * step})
        ...     rule.see({"step": step, "eval_top_entropy": held, "eval_top_mass": held})
        >>> rule.alarm, rule.back_to
        (2, 1)
    """

    def __init__(self, window: int) -> None:
        self.window = window
        self.alarm: int | None = None
        self.back_to: int | None = None
        self._since: list[float] = []
        self._steps: list[int] = []
        self._seen: dict[str, list[float]] = {name: [] for name in (*SIGNALS, MARGIN)}

    def see_all(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Take in rows of `metrics.jsonl`, in order."""
        for row in rows:
            self.see(row)

    def see(self, row: Mapping[str, Any]) -> None:
        """Take in a row of `metrics.jsonl`: of a step, or of an evaluation."""
        if (margin := _named(row, MARGIN, "")) is not None:
            self._since.append(margin)
        held = [_named(row, name, "eval_") for name in SIGNALS]
        if self.alarm is not None or None in held or not self._since:
            return
        self._steps.append(row["step"])
        for name, value in zip(self._seen, (*held, np.mean(self._since)), strict=True):
            self._seen[name].append(float(value))  # type: ignore[arg-type]
        self._since = []
        from prefine.evaluation.overoptimisation import stop_at  # brings scipy

        *signals, margins = self._seen.values()
        at = stop_at(signals, margins, window=self.window)
        if at is not None:
            self.alarm, self.back_to = row["step"], self._steps[at]

    def told(self) -> str:
        """Say what was found, for a person."""
        return (
            f"Stopped at step {self.alarm}: over the last {self.window} evaluations entropy and "
            "probability of the likeliest tokens fell while the margin of the training pairs grew. "
            f"The model is that of step {self.back_to}."
        )


class StopEarly(TrainerCallback):
    """Ends training once the rule gives the alarm; all processes together."""

    def __init__(self, rule: StopRule) -> None:
        self.rule = rule

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


def refuse_unwatched(declared: Spec, unit: str) -> None:
    """Refuse runs without the signals.

    Raises:
        ConfigError: If there is no margin, or there are no tokens.
    """
    if declared.data == "point" or unit != "nats":
        raise ConfigError(
            "stop_early watches the margin and the likeliest tokens of a language model that is "
            "trained on pairs or lists; this run has none. Remove it."
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
    kept = given.get("save_total_limit", window + 1)
    if kept is not None and kept <= window:
        raise ConfigError(
            f"training.save_total_limit={kept}: to go back over stop_early.window={window} "
            f"evaluations, {window + 1} checkpoints must be kept."
        )
    return {**wanted, "save_total_limit": kept}


def _named(row: Mapping[str, Any], name: str, prefix: str) -> float | None:
    """The value of a metric, of the first term where there are several."""
    for key, value in row.items():
        known = key.startswith(prefix) if prefix else not key.startswith("eval_")
        if known and (key == prefix + name or key.endswith(f"/{name}")):
            return value
    return None
