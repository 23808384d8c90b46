"""The pictures of a report; each says in words what it shows."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from prefine.report.canvas import INK, LINE, MUTED, SERIES, draw
from prefine.report.content import Figure
from prefine.report.text import interval_text, number, value_text, visible
from prefine.statistics import Stat, wilson

Floats = NDArray[np.float64]
Curve = Sequence[tuple[float, float]]

MOST_STEPS = 800
"""Values of a curve; of a longer one the moving mean is drawn alone, at this many steps."""

MOST_POINTS = 1500
"""Points of a scatter; more are thinned out evenly, and the caption says so."""


def curves(
    series: Mapping[str, Curve],
    *,
    ylabel: str,
    xlabel: str = "step",
    window: int | None = None,
    caption: str = "",
) -> Figure:
    """Draw curves over steps; a long one also as its moving mean within a band of one deviation.

    Args:
        series: Name -> (step, value) in order; values that are not finite leave a gap.
        ylabel: What is drawn.
        xlabel: What it is drawn over.
        window: Steps of the moving mean; 1 draws the values alone; None takes a twentieth of the
            curve if it has 40 values or more, else 1.
        caption: A line below.

    Example:
        >>> curves({"train": [(1, 0.7), (2, 0.4)]}, ylabel="loss").alt
        'loss by step. train: from 0.7 to 0.4, lowest 0.4, highest 0.7.'
    """
    lines = {
        visible(name): np.array(curve, np.float64).reshape(-1, 2) for name, curve in series.items()
    }

    def paint(axes: Any) -> None:
        for at, (name, line) in enumerate(lines.items()):
            _curve(axes, line, name, SERIES[at % len(SERIES)], window)
        axes.set(xlabel=visible(xlabel), ylabel=visible(ylabel))
        axes.margins(x=0.02)
        if len(lines) > 1:
            _legend(axes)

    told = " ".join(_tell_curve(name, line[:, 1]) for name, line in lines.items())
    return Figure(draw(paint), f"{ylabel} by {xlabel}. {told}", caption)


def histogram(
    samples: Mapping[str, ArrayLike], *, xlabel: str, mark: float = 0.0, caption: str = ""
) -> Figure:
    """Draw how numbers are distributed, with a line at `mark`.

    Example:
        >>> histogram({"held out": [-1.0, 0.5, 2.0, 3.0]}, xlabel="margin").alt
        'Distribution of margin. held out: 4 values, mean 1.125, 25% below 0.'
    """
    groups = {visible(name): _finite(values) for name, values in samples.items()}
    everything = np.concatenate([*groups.values(), np.array([mark])])
    edges = np.histogram_bin_edges(everything, bins=40)

    def paint(axes: Any) -> None:
        for at, (name, values) in enumerate(groups.items()):
            colour = SERIES[at % len(SERIES)]
            axes.hist(values, edges, color=colour, alpha=0.55, label=name, linewidth=0)
        axes.axvline(mark, color=INK, linewidth=1.0)
        axes.set(xlabel=visible(xlabel), ylabel="pairs")
        if len(groups) > 1:
            _legend(axes)

    told = " ".join(
        f"{name}: {number(len(values))} values, mean {number(float(values.mean()))}, "
        f"{100 * float((values < mark).mean()):.0f}% below {number(float(mark))}."
        if len(values)
        else f"{name}: no values."
        for name, values in groups.items()
    )
    return Figure(draw(paint), f"Distribution of {xlabel}. {told}", caption)


def scatter(x: ArrayLike, y: ArrayLike, *, xlabel: str, ylabel: str, caption: str = "") -> Figure:
    """Draw one number against another, with the mean of each tenth of the points as a line.

    Example:
        >>> scatter([1, 2, 3], [2, 4, 7], xlabel="length", ylabel="margin").alt
        'margin against length, 3 points, correlation 0.9934.'
    """
    xs, ys = np.asarray(x, np.float64), np.asarray(y, np.float64)
    finite = np.isfinite(xs) & np.isfinite(ys)
    xs, ys = xs[finite], ys[finite]
    shown = np.unique(np.linspace(0, len(xs) - 1, min(len(xs), MOST_POINTS)).round().astype(int))

    def paint(axes: Any) -> None:
        axes.axhline(0, color=LINE, linewidth=1)
        axes.axvline(0, color=LINE, linewidth=1)
        axes.plot(
            xs[shown],
            ys[shown],
            "o",
            color=SERIES[0],
            markersize=3,
            alpha=0.35,
            markeredgewidth=0,
        )
        if len(xs) >= 30:
            parts = np.array_split(np.argsort(xs, kind="stable"), 10)
            means = [(xs[part].mean(), ys[part].mean()) for part in parts]
            axes.plot(*zip(*means, strict=True), color=SERIES[1])
        axes.set(xlabel=visible(xlabel), ylabel=visible(ylabel))

    notes = [caption] if caption else []
    if len(shown) < len(xs):
        notes.append(f"{len(shown):,} of {len(xs):,} points are drawn.")
    if not finite.all():
        notes.append(f"{int((~finite).sum()):,} points that are not finite are left out.")
    varies = len(xs) > 1 and xs.std() > 0 and ys.std() > 0
    correlation = float(np.corrcoef(xs, ys)[0, 1]) if varies else math.nan
    alt = f"{ylabel} against {xlabel}, {len(xs):,} points, correlation {number(correlation)}."
    return Figure(draw(paint), alt, " ".join(notes))


def clouds(series: Mapping[str, Curve], *, xlabel: str, ylabel: str, caption: str = "") -> Figure:
    """Draw points of several kinds, a colour each.

    Example:
        >>> clouds({"dpo": [(0.1, 0.6), (0.5, 0.7)]}, xlabel="KL", ylabel="accuracy").alt
        'accuracy against KL. dpo: 2 points, accuracy 0.6 to 0.7, KL 0.1 to 0.5.'
    """
    groups = {
        visible(name): np.array(points, np.float64).reshape(-1, 2)
        for name, points in series.items()
    }

    def paint(axes: Any) -> None:
        for at, (name, points) in enumerate(groups.items()):
            axes.plot(
                *points.T, "o", color=SERIES[at % len(SERIES)], markersize=5, alpha=0.75,
                markeredgewidth=0, label=name,
            )  # fmt: skip
        axes.set(xlabel=visible(xlabel), ylabel=visible(ylabel))
        if len(groups) > 1:
            _legend(axes)

    def ends(values: Floats) -> str:
        return f"{number(float(values.min()))} to {number(float(values.max()))}"

    told = " ".join(
        f"{name}: {len(points)} points, {ylabel} {ends(points[:, 1])}, {xlabel} "
        f"{ends(points[:, 0])}."
        for name, points in groups.items()
    )
    return Figure(draw(paint), f"{ylabel} against {xlabel}. {told}", caption)


def reliability_diagram(bins: Sequence[tuple[float, float, int]], *, caption: str = "") -> Figure:
    """Draw how often a stated confidence was right; on the diagonal, words and deeds agree.

    Args:
        bins: (mean confidence, share right, number of pairs) of each bin.
        caption: A line below.

    Example:
        >>> reliability_diagram([(0.6, 0.55, 40), (0.9, 0.7, 40)]).alt
        'Share right by stated confidence: 55% right at 60%, 70% right at 90%.'
    """

    def paint(axes: Any) -> None:
        axes.plot([0.5, 1], [0.5, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        for confidence, right, count in bins:
            interval = wilson(round(right * count), count)
            axes.plot([confidence] * 2, [interval.low, interval.high], color=SERIES[0], alpha=0.35)
            axes.plot([confidence], [right], "o", color=SERIES[0], markersize=5)
        axes.set(xlabel="stated confidence", ylabel="share right", xlim=(0.49, 1.01))
        axes.set_ylim(min([0.45, *(right - 0.05 for _, right, _ in bins)]), 1.02)

    told = ", ".join(
        f"{100 * right:.0f}% right at {100 * stated:.0f}%" for stated, right, _ in bins
    )
    alt = f"Share right by stated confidence: {told or 'no pairs'}."
    return Figure(draw(paint, width=3.4, height=3.0), alt, caption)


def bars(
    stats: Mapping[str, Stat], *, xlabel: str, mark: float | None = 0.0, caption: str = ""
) -> Figure:
    """Draw numbers with their intervals, one below the other.

    Args:
        stats: Name -> number, from top to bottom.
        xlabel: What the numbers are, with their unit.
        mark: Where the bars start, with a line; None draws dots without a start.
        caption: A line below.

    Example:
        >>> gold = {"sft": Stat(1.0, 0.9, 1.1, 5, "t"), "dpo": Stat(2.0, 1.8, 2.2, 5, "t")}
        >>> bars(gold, xlabel="gold reward").alt
        'gold reward. sft: 1.00 (0.90 to 1.10); dpo: 2.00 (1.80 to 2.20).'
    """
    names = [visible(name) for name in stats]
    values = [stat if math.isfinite(stat.value) else None for stat in stats.values()]

    def paint(axes: Any) -> None:
        for at, stat in enumerate(values):
            if stat is None:
                continue
            if mark is not None:
                axes.barh(at, stat.value - mark, left=mark, color=SERIES[0], alpha=0.3, height=0.5)
            if math.isfinite(stat.low) and math.isfinite(stat.high):
                axes.plot([stat.low, stat.high], [at, at], color=SERIES[0], linewidth=2)
            axes.plot([stat.value], [at], "o", color=SERIES[0], markersize=5)
            axes.annotate(
                value_text(stat),
                (stat.value, at),
                (0, 6),
                textcoords="offset points",
                ha="center",
                fontsize=8,
            )
        if mark is not None:
            axes.axvline(mark, color=INK, linewidth=1)
        axes.set_yticks(range(len(names)), names)
        axes.tick_params(axis="y", length=0, labelcolor=INK, labelsize=9)
        axes.set_ylim(len(names) - 0.4, -0.7)
        axes.grid(visible=True, axis="x")
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
        axes.set(xlabel=visible(xlabel))

    told = "; ".join(
        f"{name}: {value_text(stat)} ({interval_text(stat)})"
        for name, stat in zip(names, stats.values(), strict=True)
    )
    height = 0.75 + 0.42 * max(len(names), 1)
    return Figure(draw(paint, height=height), f"{xlabel}. {told}.", caption)


def _curve(axes: Any, line: Floats, name: str, colour: str, window: int | None) -> None:
    x, y = line[:, 0], np.where(np.isfinite(line[:, 1]), line[:, 1], np.nan)
    if window is None:
        window = len(y) // 20 if len(y) >= 40 else 1
    mean, deviation = _moving(y, window)
    if window <= 1 or _is_smooth(y, mean):
        few = len(y) <= 25
        axes.plot(x, y, color=colour, label=name, marker="o" if few else "", markersize=3.5)
        return
    if len(y) > MOST_STEPS:
        at = np.linspace(0, len(y) - 1, MOST_STEPS).round().astype(int)
        x, mean, deviation = x[at], mean[at], deviation[at]
    else:
        axes.plot(x, y, color=colour, alpha=0.25, linewidth=0.7)
    axes.fill_between(x, mean - deviation, mean + deviation, color=colour, alpha=0.12, linewidth=0)
    axes.plot(x, mean, color=colour, label=name)


def _is_smooth(y: Floats, mean: Floats) -> bool:
    """Return whether the moving mean would tell nothing new (a schedule, a constant)."""
    off, span = np.abs(y - mean), np.ptp(y[np.isfinite(y)]) if np.isfinite(y).any() else 0.0
    return bool(np.nanmax(off, initial=0.0) <= 0.05 * span)


def _moving(y: Floats, window: int) -> tuple[Floats, Floats]:
    """Return centred moving mean and deviation; at the ends over what there is."""
    known = np.isfinite(y)
    kernel = np.ones(window)

    def total(values: Floats) -> Floats:
        full = np.convolve(values, kernel, mode="full")
        start = (window - 1) // 2
        return full[start : start + len(y)]

    count = total(known.astype(np.float64))
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = total(np.where(known, y, 0.0)) / count
        centre = np.nanmean(y) if known.any() else 0.0  # keeps the squares small
        shifted = np.where(known, y - centre, 0.0)
        square = total(shifted * shifted) / count - (total(shifted) / count) ** 2
    return np.where(count > 0, mean, np.nan), np.sqrt(np.maximum(square, 0.0))


def _legend(axes: Any) -> None:
    axes.legend(
        loc="lower left", bbox_to_anchor=(0, 1.0), ncols=3, borderaxespad=0, handlelength=1.2
    )


def _finite(values: ArrayLike) -> Floats:
    array = np.asarray(values, np.float64)
    return array[np.isfinite(array)]


def _tell_curve(name: str, values: Floats) -> str:
    finite = values[np.isfinite(values)]
    if not len(finite):
        return f"{name}: no values."
    first, last, low, high = (
        number(float(value)) for value in (finite[0], finite[-1], finite.min(), finite.max())
    )
    gaps = len(values) - len(finite)
    missing = f", {gaps} values not finite" if gaps else ""
    return f"{name}: from {first} to {last}, lowest {low}, highest {high}{missing}."
