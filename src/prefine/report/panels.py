"""Which of a run's metrics share a picture."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from prefine.report.content import Figure
from prefine.report.figures import curves

PANELS = {
    "loss": {"loss": ""},
    "accuracy": {"rewards/accuracies": "reward", "ranking_accuracy": "ranking"},
    "margin": {"rewards/margins": ""},
    "reward": {"rewards/chosen": "chosen", "rewards/rejected": "rejected"},
    "log-probability (nats)": {"logps/chosen": "chosen", "logps/rejected": "rejected"},
    "log-ratio to the reference (nats)": {
        "log_ratio/chosen": "chosen",
        "log_ratio/rejected": "rejected",
    },
    "entropy of the next token (nats)": {"entropy": "whole", "top_entropy": "ten likeliest"},
}
"""Title -> metric -> what to call it there. Every other metric gets a picture of its own."""

NOT_DRAWN = frozenset({"step", "epoch"})
"""What the curves are drawn over."""

HELD_OUT = "eval_"


def training_curves(rows: Sequence[Mapping[str, Any]]) -> list[Figure]:
    """Draw every metric of a run over its steps, held-out values beside those of training.

    Args:
        rows: One mapping a logged step: `step`, and numbers by name; `eval_` marks held-out ones.

    Example:
        >>> rows = [{"step": 1, "loss": 0.7}, {"step": 2, "loss": 0.5, "eval_loss": 0.6}]
        >>> [figure.alt for figure in training_curves(rows)]
        ['loss by step. train: from 0.7 to 0.5, lowest 0.5, highest 0.7. \
held out: from 0.6 to 0.6, lowest 0.6, highest 0.6.']
    """
    numbers = {name for row in rows for name, value in row.items() if _is_number(value)}
    return [
        curves({label: _curve(rows, name) for name, label in members.items()}, ylabel=title)
        for title, members in _panels(numbers - NOT_DRAWN)
    ]


def overlaid(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Figure]:
    """Draw every metric that two runs or more have, their curves in one picture.

    Args:
        runs: Name -> its rows, as `training_curves` takes them.

    Example:
        >>> rows = [{"step": 1, "loss": 0.7}, {"step": 2, "loss": 0.5}]
        >>> [figure.alt for figure in overlaid({"A": rows, "B": rows[:1]})]
        ['loss by step. A: from 0.7 to 0.5, lowest 0.5, highest 0.7. \
B: from 0.7 to 0.7, lowest 0.7, highest 0.7.']
    """
    drawn = {
        run: {n for row in rows for n, value in row.items() if _is_number(value)} - NOT_DRAWN
        for run, rows in runs.items()
    }
    known = [name for family in PANELS.values() for name in family]
    known += [HELD_OUT + name for name in known]
    rest = sorted({name for names in drawn.values() for name in names} - set(known))
    figures: list[Figure] = []
    for metric in (*known, *rest):
        having = [run for run, names in drawn.items() if metric in names]
        if len(having) > 1:
            series = {run: _curve(runs[run], metric) for run in having}
            figures.append(curves(series, ylabel=metric))
    return figures


def _panels(names: Iterable[str]) -> list[tuple[str, dict[str, str]]]:
    """Return title and {metric: label} of each picture, known families first."""
    left = set(names)
    families = dict(PANELS)
    for bare in sorted({name.removeprefix(HELD_OUT) for name in left}):
        if not any(bare in family for family in PANELS.values()):
            families[bare] = {bare: ""}
    panels: list[tuple[str, dict[str, str]]] = []
    for title, family in families.items():
        trained = {bare: part for bare, part in family.items() if bare in left}
        held_out = {HELD_OUT + b: p for b, p in family.items() if HELD_OUT + b in left}
        members = {name: part or "train" for name, part in trained.items()}
        if held_out:
            members = {name: f"{part} train".strip() for name, part in trained.items()}
            members |= {name: f"{part} held out".strip() for name, part in held_out.items()}
        if members:
            panels.append((title, members))
    return panels


def _curve(rows: Sequence[Mapping[str, Any]], name: str) -> list[tuple[float, float]]:
    return [(float(row["step"]), float(row[name])) for row in rows if _is_number(row.get(name))]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
