"""Signs, in a run's metrics, that it has gone too far; and from which step to take the model.

`LossRule`: the loss on held-out rows has not come down for a while. `LikelihoodRule` looks at no
labels but those of training: what the ten likeliest tokens hold of entropy and probability falls
from evaluation to evaluation, while the margin on the training pairs still grows
(arXiv:2410.11677).
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np

SIGNALS = ("top_entropy", "top_mass")
MARGIN = "rewards/margins"


class StopRule(ABC):
    """Reads rows of metrics, and says from which step the model must be taken.

    Args:
        window: Evaluations over which the sign must show.

    Attributes:
        alarm: Step of the evaluation that gave the alarm, or None.
        back_to: Step of the evaluation whose model is to be taken, or None.
        steps: Steps of the evaluations that were seen, up to the alarm.
    """

    sign: ClassVar[str]
    """What gave the alarm, for a person; `{window}` stands for the evaluations."""

    def __init__(self, window: int) -> None:
        self.window = window
        self.alarm: int | None = None
        self.back_to: int | None = None
        self.steps: list[int] = []

    def see_all(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Take in rows of `metrics.jsonl`, in order."""
        for row in rows:
            self.see(row)

    @property
    def least(self) -> int:
        """Evaluations before which there can be no alarm."""
        return self.window

    @abstractmethod
    def see(self, row: Mapping[str, Any]) -> None:
        """Take in a row of `metrics.jsonl`: of a step, or of an evaluation."""

    def told(self) -> str:
        """Say what was found, for a person."""
        sign = self.sign.format(window=self.window)
        return f"Stopped at step {self.alarm}: {sign} The model is that of step {self.back_to}."


class LikelihoodRule(StopRule):
    """Alarm when the likeliest tokens lose entropy and probability while margins grow.

    The model is that of the evaluation before they fell.

    Example:
        >>> rule = LikelihoodRule(2)
        >>> for step, held in ((1, 0.9), (2, 0.8)):
        ...     rule.see({"step": step, "rewards/margins": 0.1 * step})
        ...     rule.see({"step": step, "eval_top_entropy": held, "eval_top_mass": held})
        >>> rule.alarm, rule.back_to
        (2, 1)
    """

    sign = (
        "over the last {window} evaluations entropy and probability of the likeliest tokens fell "
        "while the margin of the training pairs grew."
    )

    def __init__(self, window: int) -> None:
        super().__init__(window)
        self._since: list[float] = []
        self._seen: dict[str, list[float]] = {name: [] for name in (*SIGNALS, MARGIN)}

    def see(self, row: Mapping[str, Any]) -> None:
        """Take in the margin of a step, or the signals of an evaluation."""
        if (margin := _named(row, MARGIN, "")) is not None:
            self._since.append(margin)
        held = [_named(row, name, "eval_") for name in SIGNALS]
        if self.alarm is not None or None in held or not self._since:
            return
        self.steps.append(row["step"])
        for name, value in zip(self._seen, (*held, np.mean(self._since)), strict=True):
            self._seen[name].append(float(value))  # type: ignore[arg-type]
        self._since = []
        from prefine.evaluation.overoptimisation import stop_at  # brings scipy

        *signals, margins = self._seen.values()
        at = stop_at(signals, margins, window=self.window)
        if at is not None:
            self.alarm, self.back_to = row["step"], self.steps[at]


class LossRule(StopRule):
    """Alarm when the held-out loss was lowest `window` evaluations ago; that model is taken.

    Example:
        >>> rule = LossRule(2)
        >>> rule.see_all({"step": n, "eval_loss": y} for n, y in enumerate((0.7, 0.5, 0.6, 0.55)))
        >>> rule.alarm, rule.back_to
        (3, 1)
    """

    sign = "for {window} evaluations the loss on held-out rows has not come down."

    def __init__(self, window: int) -> None:
        super().__init__(window)
        self._losses: list[float] = []

    @property
    def least(self) -> int:
        """One more than the window: the lowest stands before it."""
        return self.window + 1

    def see(self, row: Mapping[str, Any]) -> None:
        """Take in the loss of an evaluation."""
        if self.alarm is not None or "eval_loss" not in row:
            return
        self._losses.append(row["eval_loss"])
        self.steps.append(row["step"])
        least = self._losses.index(min(self._losses))
        if least == len(self._losses) - 1 - self.window:
            self.alarm, self.back_to = row["step"], self.steps[least]


RULES: Mapping[str, type[StopRule]] = {"loss": LossRule, "likelihood": LikelihoodRule}
"""`stop_early.by` -> the rule."""


def _named(row: Mapping[str, Any], name: str, prefix: str) -> float | None:
    """The value of a metric, of the first term where there are several."""
    for key, value in row.items():
        known = key.startswith(prefix) if prefix else not key.startswith("eval_")
        if known and (key == prefix + name or key.endswith(f"/{name}")):
            return value
    return None
