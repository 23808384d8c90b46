"""What is wrong with a run, in words, with the numbers that say so."""

from dataclasses import dataclass
from typing import Any, Literal

from prefine.audit.curves import Curve
from prefine.report.text import interval_text, number, value_text
from prefine.statistics import Stat

Severity = Literal["critical", "serious", "mild"]

ORDER: tuple[Severity, ...] = ("critical", "serious", "mild")
"""critical: the run's numbers mean nothing. serious: the model is worse for it. mild: time lost."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """A number and where it was read.

    Attributes:
        what: Name of the metric, or what was made of it.
        stat: The number, with its interval where it varies.
        steps: First and last step it was read at; None for numbers of the finished run.
    """

    what: str
    stat: Stat
    steps: tuple[int, int] | None = None

    def __str__(self) -> str:
        where = ""
        if self.steps is not None:
            first, last = self.steps
            where = f" at step {first}" if first == last else f" over steps {first} to {last}"
        has_interval = interval_text(self.stat) != "–"
        interval = f" ({interval_text(self.stat)})" if has_interval else ""
        shown = value_text(self.stat) if has_interval else number(float(self.stat.value))
        return f"{self.what}{where}: {shown}{interval}"

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        steps = None if self.steps is None else list(self.steps)
        return {"what": self.what, "steps": steps, "stat": self.stat.to_json()}


def seen(curve: Curve, what: str | None = None) -> Evidence:
    """Return the level of a stretch of a curve as evidence.

    Example:
        >>> import numpy as np
        >>> print(seen(Curve("loss", np.array([1.0]), np.array([0.693]))))
        loss at step 1: 0.693
    """
    steps = (int(curve.steps[0]), int(curve.steps[-1]))
    return Evidence(what or curve.name, curve.level(), steps)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong.

    Attributes:
        name: Of the illness.
        severity: How bad it is.
        excess: How far past its threshold, as a ratio: the order among equals.
        what: What is wrong, in words.
        evidence: The numbers that say so.
        remedy: What to do.
        because: Name of another finding that explains this one, or "".
    """

    name: str
    severity: Severity
    excess: float
    what: str
    evidence: tuple[Evidence, ...]
    remedy: str
    because: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return {
            "name": self.name,
            "severity": self.severity,
            "what": self.what,
            "evidence": [evidence.to_json() for evidence in self.evidence],
            "remedy": self.remedy,
            "because": self.because or None,
        }
