"""What the curves say of the data: noise, pairs that teach nothing, length."""

import numpy as np

from prefine.audit.curves import HEAD, TAIL, Curve, Curves
from prefine.audit.finding import Evidence, Finding, seen
from prefine.errors import MissingMetric
from prefine.statistics import Stat, proportion

SECOND_HALF = (0.5, 1.0)
"""Where learning has slowed down; accuracies of single steps scatter by five points and more."""

PLATEAU = 0.6
"""Training accuracy, interval included, of a run whose labels are a coin flip in four of five."""

CONFIDENT = 0.25
"""Share of held-out pairs with the largest margins: noise cannot be told from doubt in the rest."""

SURE = 0.95
"""Accuracy at which nothing is left to learn: people agree with themselves less often."""

AT_ONCE = 0.5
"""Share of the run within which it is reached: the other half was for nothing."""

SURE_HELD_OUT = 0.95
"""Held-out accuracy that shows it was not learnt by heart."""

SURE_WINDOW = 3
"""Steps of the moving median of accuracy."""

LENGTH = 0.45
"""Correlation of length and margin: a fifth of the margin's variance is length alone."""


def label_noise(curves: Curves) -> Finding | None:
    """Accuracy stays near a half while the model does move: the labels contradict each other."""
    if not (curves.has_reference or curves.is_reward_model):
        raise MissingMetric("rewards/accuracies against a reference")
    accuracy = curves.over("rewards/accuracies", SECOND_HALF)
    level = accuracy.level()
    if not level.high < PLATEAU:
        return None
    evidence = [seen(accuracy), seen(curves.over("loss", SECOND_HALF))]
    confident = _confident(curves)
    if confident is not None:
        evidence.append(Evidence("share right of the surest quarter of held-out pairs", confident))
    said = f"Training accuracy stays at {100 * level.value:.0f}% although the model moves. "
    remedy = (
        "Look at pairs that the model is surely wrong about, measure how far raters agree, drop "
        "those near chance; robust_dpo withstands noise of a known rate."
    )
    if curves.is_reward_model:
        margins = [curves.margin().part(part, curves.last_step) for part in (HEAD, TAIL)]
        evidence += map(seen, margins)
        said += (
            "Either labels contradict each other (or what decides them is not in the text), or the "
            "first steps broke the trunk, so that no text earns more than another, or the run was "
            "too short to begin. The curves of these look the same."
        )
        remedy = (
            "Tell them apart by a second run: a third of the learning rate, a tenth of the run as "
            "warm-up, twice the steps. If accuracy leaves a half, it was the step; if it stays, it "
            f"is the labels. {remedy}"
        )
    else:
        said += "Labels contradict each other, or what decides them is not in the text."
    return Finding(
        "label_noise",
        "serious",
        (1 - level.high) / (1 - PLATEAU),
        said,
        tuple(evidence),
        remedy,
    )


def _confident(curves: Curves) -> Stat | None:
    """Share right of the held-out pairs with the largest margins, either way."""
    rows = [row for row in curves.held_out or () if _is_pair(row)]
    if len(rows) < 20:
        return None
    margins = np.array([_margin(row) for row in rows])
    surest = np.argsort(-np.abs(margins), kind="stable")[: max(1, int(CONFIDENT * len(rows)))]
    clusters = [rows[at]["cluster"] for at in surest]
    return proportion((margins[surest] > 0).astype(float), clusters)


def _is_pair(row) -> bool:
    return list(row["roles"][:2]) == ["chosen", "rejected"] and None not in (
        *row["scores"][:2],
        *(row["reference"] or ())[:2],
    )


def _margin(row) -> float:
    base = row["reference"] or (0.0, 0.0)
    return (row["scores"][0] - base[0]) - (row["scores"][1] - base[1])


def data_too_easy(curves: Curves) -> Finding | None:
    """Every pair is ordered right within a few steps, held-out ones too: little is learnt."""
    accuracy = curves.get("rewards/accuracies")
    smoothed = accuracy.smoothed(SURE_WINDOW)
    sure = np.flatnonzero(smoothed >= SURE)
    if not len(sure):
        return None
    at = int(sure[0])
    share = float(accuracy.steps[at]) / curves.last_step
    tail = accuracy.part(TAIL, curves.last_step)
    if share > AT_ONCE or tail.level().value < SURE:
        return None
    held_out = curves.held_out_accuracy()
    if held_out.value < SURE_HELD_OUT:
        return None
    reached = Curve(
        accuracy.name,
        accuracy.steps[at : at + SURE_WINDOW],
        accuracy.values[at : at + SURE_WINDOW],
    )
    evidence = [seen(reached), seen(tail), Evidence("held-out accuracy", held_out)]
    if curves.has("ranking_accuracy"):
        first = curves.over("ranking_accuracy", (0.0, 0.0))
        evidence.append(seen(first, "ranking_accuracy before training"))
    evidence.append(seen(curves.over("loss", TAIL)))
    return Finding(
        "data_too_easy",
        "mild",
        AT_ONCE / max(share, 1e-6),
        f"By step {accuracy.steps[at]:.0f} of {curves.last_step:.0f} every pair is ordered right, "
        "held-out ones too. One look tells the responses apart, and the rest of the run only "
        "makes the model more certain.",
        tuple(evidence),
        "Look for what gives the rejected away (its source, its length, a phrase). Take pairs "
        "whose responses come from one model, or stop early.",
    )


def length_bias(curves: Curves) -> Finding | None:
    """The margin follows the difference in length: longer, or shorter, is what was learnt."""
    if not (curves.has_reference or curves.is_reward_model):
        raise MissingMetric("length_correlation against a reference")
    correlation = curves.over("length_correlation", SECOND_HALF)
    level = correlation.level()
    nearest = 0.0 if level.low <= 0 <= level.high else min(abs(level.low), abs(level.high))
    if not (abs(level.value) >= LENGTH and nearest > LENGTH / 2):
        return None
    which = "longer" if level.value > 0 else "shorter"
    metrics = (curves.summary or {}).get("metrics") or {}
    evidence = [seen(correlation)]
    for name in ("baseline_longer", "length_correlation"):
        if name in metrics:
            evidence.append(Evidence(f"held-out {name}", Stat.from_json(metrics[name])))
    return Finding(
        "length_bias",
        "serious",
        abs(level.value) / LENGTH,
        f"The margin follows length (correlation {level.value:.2f}): the {which} response is "
        "preferred for being so. Samples will drift in length.",
        tuple(evidence),
        "Compare accuracy with the baseline `the longer one wins`. Balance lengths in the pairs, "
        "or take an objective that takes length out (r_dpo, ld_dpo, simpo).",
    )
