"""Where likelihood went: away from both responses, or far away without gain."""

import math
from dataclasses import replace

from prefine.audit.curves import HEAD, HELD_OUT, TAIL, Curves
from prefine.audit.finding import Evidence, Finding, Severity, seen
from prefine.errors import MissingMetric
from prefine.statistics import Stat, wilson

DISPLACED = 0.05
"""Fall of log pi(chosen) by a response's log-probability. Less is seen in runs that do well."""

DISPLACED_SERIOUSLY, DISPLACED_CRITICALLY = 0.15, 0.5
"""A seventh, then half of what there was: samples are then made of neither response."""

FAR_WITHOUT_GAIN = 0.5
"""Nats per token from the reference, past which held-out accuracy should have something to show."""

GAIN = 0.02
"""Held-out accuracy that such a distance should have brought since the first evaluation."""

TOO_FAR = 0.7
"""Nats per token that no gain excuses: text has one or two. In the word world, runs that went so
far order held-out pairs as well as others do, and write fewer sentences, or none."""

PERFECT = 0.95
"""Held-out accuracy that has nothing left to gain."""

COLLAPSED = 0.8
"""Entropy at the end over entropy at the start: runs that do well keep nine tenths."""


def displacement(curves: Curves) -> Finding | None:
    """The margin rises although the chosen falls: mass moves to responses nobody compared."""
    if curves.is_reward_model:
        return None
    margin = curves.margin()
    after = margin.part(TAIL, curves.last_step)
    rises = margin.slope() > 0
    if curves.has("log_ratio/chosen"):
        chosen, rejected = (
            curves.over(f"log_ratio/{name}", TAIL) for name in ("chosen", "rejected")
        )
        fallen, least = -chosen.level().value, -chosen.level().high
        evidence = [seen(chosen), seen(rejected)]
    else:
        start, end = (curves.over("logps/chosen", part) for part in (HEAD, TAIL))
        fallen = start.level().value - end.level().value
        least = start.level().low - end.level().high
        evidence = [seen(start), seen(end), seen(curves.over("logps/rejected", TAIL))]
    share = fallen / curves.surprisal()
    if not rises or share < DISPLACED or least <= 0:
        return None
    severity: Severity = "mild"
    if share >= DISPLACED_SERIOUSLY:
        severity = "critical" if share >= DISPLACED_CRITICALLY else "serious"
    return Finding(
        "displacement",
        severity,
        share / DISPLACED,
        f"The margin rises while the chosen response loses {fallen:.3g} nats, {100 * share:.0f}% "
        "of its log-probability: both fall, the rejected one faster. Likelihood goes to responses "
        "that are in neither column.",
        (*evidence, seen(after)),
        "Read samples. Add a likelihood term on the chosen response (rpo, dpop), raise beta, train "
        "for fewer steps, or leave out pairs whose responses are nearly the same.",
    )


def over_optimisation(curves: Curves) -> Finding | None:
    """The policy goes far, and what was held out gains nothing by it; or its entropy collapses."""
    if curves.is_reward_model:
        return None
    evidence: list[Evidence] = []
    collapsed = _collapse(curves, evidence)
    stalled = _stall(curves, evidence)
    if collapsed is None and stalled is None:
        raise MissingMetric(f"entropy, or {HELD_OUT}rewards/accuracies twice")
    excess = max(collapsed or 0.0, stalled or 0.0)
    if excess < 1:
        return None
    far = curves.has("logps/mean_token") and curves.drift().level().value >= TOO_FAR
    severity: Severity = "critical" if far or (collapsed or 0) >= 1 else "serious"
    said = [
        "the entropy of its next token has collapsed" if (collapsed or 0) >= 1 else "",
        "it has gone further than held-out accuracy can justify" if (stalled or 0) >= 1 else "",
    ]
    return Finding(
        "over_optimisation",
        severity,
        excess,
        f"The policy is over-optimised: {' and '.join(part for part in said if part)}.",
        tuple(evidence),
        "Take an earlier checkpoint (training.save_strategy=steps), train for fewer steps, or "
        "raise beta; an objective without a reference wants a far smaller learning rate.",
    )


def _collapse(curves: Curves, evidence: list[Evidence]) -> float | None:
    if not curves.has("entropy"):
        return None
    entropy = curves.get("entropy")
    if len(entropy) < 2:
        return None
    first, last = (entropy.part(part, curves.last_step) for part in ((0.0, 0.0), TAIL))
    evidence += [seen(first), seen(last)]
    left = max(last.level().value, 1e-12) / max(first.level().value, 1e-12)
    return COLLAPSED / left


def _stall(curves: Curves, evidence: list[Evidence]) -> float | None:
    """Distance over what is allowed for the gain that it brought."""
    if not curves.has("logps/mean_token"):
        return None
    drift = curves.drift()
    evidence.append(seen(drift))
    far = drift.level().value
    name = HELD_OUT + "rewards/accuracies"
    if not curves.has(name) or len(curves.get(name)) < 2:
        return far / TOO_FAR if far >= TOO_FAR else None
    accuracy = curves.get(name)
    for at in (0, len(accuracy) - 1):
        step = int(accuracy.steps[at])
        evidence.append(Evidence(name, _held_out(curves, accuracy.values[at]), (step, step)))
    gain = float(accuracy.values[-1] - accuracy.values[0])
    stalled = gain < GAIN and accuracy.values[-1] < PERFECT
    return far / (FAR_WITHOUT_GAIN if stalled else TOO_FAR)


def _held_out(curves: Curves, share: float) -> Stat:
    count = int((curves.header.get("rows") or {}).get("held_out") or 0)
    if not count:
        return Stat(share, math.nan, math.nan, 0, "rows were not counted: no interval")
    return replace(wilson(round(share * count), count), value=share)
