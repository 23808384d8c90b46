"""What the run learnt by heart."""

import math

from prefine.audit.curves import HELD_OUT, TAIL, Curves
from prefine.audit.finding import Evidence, Finding, seen
from prefine.errors import MissingMetric
from prefine.statistics import Stat

GAP = 0.1
"""Training accuracy minus held-out accuracy. The first pass over the data cannot make one."""

SURELY = 0.05
"""What the gap must exceed with its interval: accuracies of small held-out sets scatter so far."""

BEGUN = 0.5
"""Share of that gap that must show in accuracy before a rising held-out loss counts."""

RISE = 0.1
"""Held-out loss over its lowest value, and over the training loss, minus 1."""


def overfitting(curves: Curves) -> Finding | None:
    """Training rows are ordered far better than held-out ones, or the held-out loss turned up."""
    evidence: list[Evidence] = []
    gap, rise = _gap(curves, evidence), _rise(curves, evidence)
    if gap is None and rise is None:
        raise MissingMetric(f"held-out accuracy, or {HELD_OUT}loss twice")
    if gap is not None and gap < BEGUN and rise is not None:
        rise = min(rise, 0.99)  # a few odd held-out rows may raise a mean loss
    excess = max(gap or 0.0, rise or 0.0)
    if excess < 1:
        return None
    epochs = (curves.config.get("training") or {}).get("num_train_epochs")
    known = "" if epochs is None else f" (here {epochs:g})"
    return Finding(
        "overfitting",
        "serious",
        excess,
        "The model orders the pairs it was trained on better than pairs it has not seen: it "
        "learns them by heart."
        if (gap or 0) >= 1
        else "The held-out loss turned up while the training loss kept falling: the model grows "
        "surer than it has reason to be.",
        tuple(evidence),
        f"Train for fewer epochs{known} (one is usual), take the checkpoint with the lowest "
        f"{HELD_OUT}loss, or add data.",
    )


def _gap(curves: Curves, evidence: list[Evidence]) -> float | None:
    """The gap over its threshold; below 1 where its interval does not bear it out."""
    if not curves.has("rewards/accuracies"):
        return None
    try:
        held_out = curves.held_out_accuracy()
    except MissingMetric:
        return None
    curve = curves.over("rewards/accuracies", TAIL)
    train = curve.level()
    gap = train.value - held_out.value
    half = math.hypot(_half(train), _half(held_out))
    stat = Stat(gap, gap - half, gap + half, held_out.n, "both intervals, in quadrature")
    evidence += [
        seen(curve),
        Evidence("held-out accuracy", held_out),
        Evidence("difference", stat),
    ]
    return gap / GAP if stat.low > SURELY else min(gap / GAP, 0.99)


def _half(stat: Stat) -> float:
    half = (stat.high - stat.low) / 2
    return half if math.isfinite(half) else 1.0


def _rise(curves: Curves, evidence: list[Evidence]) -> float | None:
    name = HELD_OUT + "loss"
    if not curves.has(name):
        return None
    held_out, train = curves.get(name), curves.over("loss", TAIL)
    if len(held_out) < 2:
        return None
    best, last = int(held_out.values.argmin()), float(held_out.values[-1])
    lowest = float(held_out.values[best])
    if lowest <= 0 or train.level().value <= 0:
        return None
    for at in sorted({best, len(held_out) - 1}):
        step = int(held_out.steps[at])
        value = Stat(float(held_out.values[at]), math.nan, math.nan, 1, "one evaluation")
        evidence.append(Evidence(name, value, (step, step)))
    evidence.append(seen(train))
    return min(last / lowest - 1, last / train.level().value - 1) / RISE
