"""Reports on runs: what ails one, and how several differ."""

from prefine.audit.arms import Arm, Run
from prefine.audit.compare_report import comparison_report
from prefine.audit.comparison import Comparison, Difference, compare
from prefine.audit.curves import Curve, Curves, read_curves
from prefine.audit.diagnosis import Diagnosis, diagnose, examine
from prefine.audit.finding import Evidence, Finding

__all__ = [
    "Arm",
    "Comparison",
    "Curve",
    "Curves",
    "Diagnosis",
    "Difference",
    "Evidence",
    "Finding",
    "Run",
    "compare",
    "comparison_report",
    "diagnose",
    "examine",
    "read_curves",
]
