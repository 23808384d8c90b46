"""Reports on runs: what ails one, and how several differ."""

from prefine.audit.curves import Curve, Curves, MissingMetric, read_curves
from prefine.audit.diagnose import Diagnosis, diagnose, examine
from prefine.audit.finding import Evidence, Finding

__all__ = [
    "Curve",
    "Curves",
    "Diagnosis",
    "Evidence",
    "Finding",
    "MissingMetric",
    "diagnose",
    "examine",
    "read_curves",
]
