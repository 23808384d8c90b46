"""An outcome as a picture: a dot for each seed, and the zone where the claim says they belong."""

from typing import Any

from prefine.ledger.entry import Bound
from prefine.ledger.outcome import Outcome, Verdict
from prefine.report.canvas import INK, MUTED, SERIES, draw
from prefine.report.content import Figure
from prefine.report.text import stat_text

METHOD, OTHER, CONTROL = SERIES[0], SERIES[4], SERIES[1]
ZONE = SERIES[2]
ROW, MARGIN = 0.32, 0.72
"""Inches of an arm, and of what stands around a panel."""


def picture(outcome: Outcome) -> Figure:
    """Draw every bound of an entry: seeds, their interval, and the shaded zone of the claim."""
    verdicts = outcome.verdicts
    arms = [_arms(outcome, verdict.bound.measure) for verdict in verdicts]

    def paint(panels: Any) -> None:
        for axes, verdict, found in zip(_many(panels), verdicts, arms, strict=True):
            _panel(axes, outcome, verdict.bound, found)

    height = sum(MARGIN + ROW * len(found) for found in arms)
    told = " ".join(_tell(outcome, verdict) for verdict in verdicts)
    return Figure(draw(paint, width=6.4, height=height, panels=len(verdicts)), told)


def _many(panels: Any) -> list[Any]:
    return list(panels) if hasattr(panels, "__len__") else [panels]


def _arms(outcome: Outcome, measure: str) -> dict[str, str]:
    """Arm -> name of its number, the method first and the control last."""
    found = {"": measure}
    start = f"{measure}/"
    found |= {name.removeprefix(start): name for name in outcome.figures if name.startswith(start)}
    order = sorted(found, key=lambda arm: (arm != "", arm == "control", arm != "baseline"))
    return {arm: found[arm] for arm in order}


def _panel(axes: Any, outcome: Outcome, bound: Bound, arms: dict[str, str]) -> None:
    values = [run.metrics[name] for run in outcome.runs for name in arms.values()]
    ends = [end for end in (bound.at_least, bound.at_most) if end is not None]
    least, most = min([*values, *ends]), max([*values, *ends])
    room = 0.06 * (most - least or 1.0)
    low, high = max(bound.low, least - room), min(bound.high, most + room)
    axes.axvspan(low, high, color=ZONE, alpha=0.14, linewidth=0)
    for end in ends:
        axes.axvline(end, color=ZONE, linewidth=1.0)
    for at, (arm, name) in enumerate(arms.items()):
        colour = METHOD if arm == "" else CONTROL if arm == "control" else OTHER
        seen = [run.metrics[name] for run in outcome.runs]
        stat = outcome.figures[name]
        axes.plot([stat.low, stat.high], [at, at], color=colour, linewidth=3.2, alpha=0.35)
        axes.plot(seen, [at] * len(seen), "o", color=colour, alpha=0.7, markersize=3.6,
                  markeredgewidth=0)  # fmt: skip
        axes.plot([stat.value], [at], "|", color=INK, markersize=9)
    labels = [outcome.entry.name if arm == "" else arm for arm in arms]
    axes.set_yticks(range(len(arms)), labels)
    axes.set_ylim(len(arms) - 0.4, -0.6)
    axes.set_xlim(least - room, most + room)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(bound.says)
    axes.tick_params(axis="y", length=0, labelcolor=MUTED)


def _tell(outcome: Outcome, verdict: Verdict) -> str:
    told = f"{verdict.bound.says}: {stat_text(verdict.found)}, asked for {_asked(verdict.bound)}"
    return told + (
        f"; control {stat_text(verdict.control)}." if verdict.control is not None else "."
    )


def _asked(bound: Bound) -> str:
    return str(bound).removeprefix(f"{bound.measure} ")
