"""Read a run's curves and say in words what is going on."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from prefine.audit.curves import FEWEST_STEPS, Curves, read_curves
from prefine.audit.finding import ORDER, Finding
from prefine.audit.rules import EXPLAINS, RULES
from prefine.errors import MissingMetric


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What was found in a run.

    Attributes:
        findings: What is wrong, worst first; consequences after their cause.
        checked: Names of the illnesses that were looked for.
        unchecked: Illness -> the metric that its rule lacked.
        steps: Steps that were read.
        finished: Whether the run came to its end.
        terms: Preference terms of an objective of several terms; the first one was read.
    """

    findings: tuple[Finding, ...]
    checked: tuple[str, ...] = ()
    unchecked: dict[str, str] = field(default_factory=dict)
    steps: int = 0
    finished: bool = True
    terms: tuple[str, ...] = ()

    @property
    def healthy(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    @property
    def looked(self) -> bool:
        """Whether enough was looked for to call a run healthy: most rules had what they need."""
        return len(self.checked) > len(self.unchecked)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return {
            "healthy": self.healthy,
            "steps": self.steps,
            "finished": self.finished,
            "findings": [finding.to_json() for finding in self.findings],
            "checked": list(self.checked),
            "unchecked": dict(self.unchecked),
            "terms": list(self.terms),
        }


def diagnose(run: Path | str) -> Diagnosis:
    """Read a run's folder and say what is wrong with it.

    Raises:
        RunFolderError: If there is no run in it, or no step.
    """
    return examine(read_curves(run))


def examine(curves: Curves) -> Diagnosis:
    """Apply every rule to the curves of a run.

    Example:
        >>> examine(Curves([{"step": 1, "loss": 0.7}])).unchecked["displacement"]
        '10 logged steps (there is 1)'
    """
    findings: list[Finding] = []
    checked: list[str] = []
    unchecked: dict[str, str] = {}
    logged = sum(curves.logged_as("loss") in row for row in curves.rows)
    if logged < FEWEST_STEPS:
        verb = "is" if logged == 1 else "are"
        reason = f"{FEWEST_STEPS} logged steps (there {verb} {logged})"
        unchecked = {rule.__name__: reason for rule in RULES if rule is not RULES[0]}
    for rule in RULES:
        name = rule.__name__
        if name in unchecked:
            continue
        try:
            found = rule(curves)
        except MissingMetric as missing:
            unchecked[name] = str(missing)
            continue
        checked.append(name)
        if found is not None:
            findings.append(found)
    return Diagnosis(
        in_order(findings),
        tuple(checked),
        unchecked,
        int(curves.last_step),
        curves.summary is not None,
        curves.terms,
    )


def in_order(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Put the worst first, and what follows from a cause behind it."""
    names = [finding.name for finding in findings]
    told: list[Finding] = []
    for finding in findings:
        causes = [name for name in names if finding.name in EXPLAINS.get(name, ())]
        told.append(replace(finding, because=causes[0]) if causes else finding)
    return tuple(sorted(told, key=lambda f: (bool(f.because), ORDER.index(f.severity), -f.excess)))
