"""Learning rate and beta: was the step too long, too short, or held too tightly?"""

from collections.abc import Sequence

import numpy as np

from prefine.audit.curves import HEAD, HELD_OUT, TAIL, Curve, Curves
from prefine.audit.finding import Evidence, Finding, seen
from prefine.errors import MissingMetric

LOSS_PEAK = 1.5
"""Smoothed loss over the first one. Steps that help lower it; batches scatter by some percent."""

FAR = 1.0
"""Nats per token from the reference. Text has one or two nats per token, so it is another text."""

GONE = 3.0
"""Nats per token from the reference, whatever the loss: a token has a twentieth of its chance."""

NOTHING_LEARNT = 0.95
"""Last loss over the first one, above which so long a way has not paid."""

ORDERED = 0.6
"""Training accuracy from which it has paid: with a small beta the loss can fall but little."""

SMALLEST_FALL = 0.02
"""Share of the loss that a run takes off if it learns anything at all."""

NOTHING_MOVED = 2e-4
"""Share of a response's log-probability: even shuffled labels move a policy twice as far."""

WANDERED = 8.0
"""Log-odds by which all rewards moved together, and by which that exceeds the margin."""

DEAD = 200.0
"""Factor by which the gradient of a reward model fell although the loss did not. Labels that are
noise take off a factor of 30, slow beginnings 50, and steps that broke the trunk 1,000 and more."""

STILL_LOSS = 0.005
"""Share by which the loss of the same held-out rows changes while a model stays where it is."""

DRIFTED = 0.05
"""Nats per token by which batches differ in how likely their responses are; more is movement."""

STILL = 0.3
"""Log-odds between the mean reward of the first and last steps: a model that has begun moves more,
because nothing holds the level of its rewards."""

SPREAD = 2.0
"""Factor between the margins of the first and last steps: labels that are noise shrink them to
nothing, since a loss on coin flips is lowest where all rewards are equal."""

STEEPNESS = 3.0
"""Factor between the gradient of the first and last steps: scatter explains one of two."""

OUTSET = (0.0, 0.05)
"""The first twentieth of a run: where gradients are those of the model it started from."""

HELD = 0.01
"""Log-ratio margin by log-probability: with less, a preference hardly changes what is sampled."""

SATISFIED = 0.5
"""Reward margin, in log-odds, from which the loss pulls a good fifth less than at first."""

PRICE = 1.0
"""What one log-odds of margin costs, by the log-probability of a response: more than there is."""

MOVED = 0.05
"""Log-ratio margin by log-probability, from which the price is being paid."""

PEAK_WINDOW, PEAK_SHARE = 3, 0.05
"""Steps of the moving median, or share of a long run: some odd small batches are no instability."""


def learning_rate_too_large(curves: Curves) -> Finding | None:
    """The loss climbs above its start, or the policy goes far away and the loss gains nothing."""
    loss = curves.get("loss")
    window = max(PEAK_WINDOW, int(PEAK_SHARE * len(loss)))
    first, smoothed = float(loss.values[0]), loss.smoothed(window)
    start = first if curves.has_reference else max(first, float(smoothed[0]))
    tail = curves.over("loss", TAIL)
    if first <= 0:
        return None  # a loss without a bottom at 0 has no scale to climb by
    at = int(smoothed.argmax())
    peak = Curve(loss.name, loss.steps[at : at + window], loss.values[at : at + window])
    ratio = float(smoothed[at]) / start  # without a reference the first batch scatters, too
    climbed = at > 0 and ratio >= LOSS_PEAK
    drift = None if curves.is_reward_model else curves.drift()
    far = 0.0 if drift is None else drift.level().value
    lost = far >= GONE or (far >= FAR and not _has_paid(curves, tail, first))
    wandered = curves.is_reward_model and _wandered(curves)
    flat = _dead_stretch(curves) if curves.is_reward_model else None
    if not climbed and not lost and not wandered and flat is None:
        return None
    evidence = [seen(loss.part((0.0, 0.0), curves.last_step)), seen(peak), seen(tail)]
    if drift is not None:
        evidence.append(seen(drift))
    if curves.has("grad_norm"):
        evidence.append(_steepest(curves.get("grad_norm")))
    if climbed:
        said = f"The loss climbed to {ratio:.1f} times its first value"
    elif lost:
        said = f"The policy went {far:.2g} nats per token away, further than the loss can pay for"
    elif wandered:
        evidence.append(seen(_rewards(curves).part(TAIL, curves.last_step)))
        said = "The rewards of all responses wandered off together"
    else:
        said = "The gradient died while the loss stayed: no text earns more than another"
    if flat is not None:
        evidence.append(seen(flat, "smallest grad_norm"))
    rate = (curves.config.get("training") or {}).get("learning_rate")
    known = "" if rate is None else f" (here {rate:g})"
    return Finding(
        "learning_rate_too_large",
        "critical" if tail.level().value >= NOTHING_LEARNT * first else "serious",
        ratio / LOSS_PEAK if climbed else 1.0,
        f"{said}: steps overshoot. What the run ended with is chance.",
        tuple(evidence),
        f"Lower training.learning_rate{known} by a factor of 3 to 10; keep a warm-up "
        "(training.warmup_steps) and training.max_grad_norm.",
    )


def _has_paid(curves: Curves, tail: Curve, first: float) -> bool:
    """Whether the loss has fallen, or the training pairs are ordered right all the same."""
    if tail.level().value < NOTHING_LEARNT * first:
        return True
    name = "rewards/accuracies"
    return curves.has(name) and curves.over(name, TAIL).level().low > ORDERED


def _rewards(curves: Curves) -> Curve:
    """The mean reward of chosen and rejected: no loss on differences asks it to move."""
    good, bad = curves.get("rewards/chosen"), curves.get("rewards/rejected")
    return Curve("mean of both rewards", good.steps, (good.values + bad.values) / 2)


def _wandered(curves: Curves) -> bool:
    margin = curves.margin().part(TAIL, curves.last_step).level().value
    wandered = float(np.ptp(_rewards(curves).smoothed(PEAK_WINDOW)))
    return wandered >= WANDERED and wandered >= WANDERED * abs(margin)


def _dead_stretch(curves: Curves) -> Curve | None:
    """A tenth of the run in which nothing pulled any more, although nothing was learnt."""
    if not curves.has("grad_norm"):
        return None
    norm, loss = curves.get("grad_norm"), curves.get("loss")
    first = float(norm.smoothed(PEAK_WINDOW)[0])
    window = max(PEAK_WINDOW, len(norm) // 10)
    smoothed = norm.smoothed(window)
    at = int(smoothed.argmin())
    flat = Curve(norm.name, norm.steps[at : at + window], norm.values[at : at + window])
    then = loss.values[(loss.steps >= flat.steps[0]) & (loss.steps <= flat.steps[-1])]
    learnt = not len(then) or float(then.mean()) < NOTHING_LEARNT * float(loss.values[0])
    return flat if not learnt and first > DEAD * float(smoothed[at]) else None


def _steepest(norm: Curve):
    at = int(norm.values.argmax())
    return seen(Curve("largest grad_norm", norm.steps[at : at + 1], norm.values[at : at + 1]))


def learning_rate_too_small(curves: Curves) -> Finding | None:
    """Nothing moved: neither the loss nor the model."""
    if curves.is_reward_model:
        found = _reward_is_still(curves)
    elif curves.has_reference:
        found = _policy_is_still(curves)
    else:
        found = _loss_is_still(curves)
    if found is None:
        return None
    excess, evidence = found
    rate = (curves.config.get("training") or {}).get("learning_rate")
    known = "" if rate is None else f" (here {rate:g})"
    return Finding(
        "learning_rate_too_small",
        "mild",
        excess,
        f"Nothing moved in {curves.last_step:.0f} steps: the loss is where it was, and so is the "
        "model.",
        tuple(evidence),
        f"Raise training.learning_rate{known} by a factor of 10, and look at its curve: LoRA wants "
        "ten times the rate of full fine-tuning, and a long warm-up may be all of a short run.",
    )


def _policy_is_still(curves: Curves) -> tuple[float, list[Evidence]] | None:
    loss, tail = curves.get("loss"), curves.over("loss", TAIL)
    first = float(loss.values[0])
    names = ("log_ratio/chosen", "log_ratio/rejected", "kl_reference")
    ends = [curves.over(name, TAIL) for name in names if curves.has(name)]
    allowed = NOTHING_MOVED * curves.surprisal()
    moved = max(abs(end.level().value) for end in ends)
    if moved > allowed or tail.level().value < (1 - SMALLEST_FALL) * first:
        return None
    evidence = [seen(loss.part((0.0, 0.0), curves.last_step)), seen(tail), *map(seen, ends)]
    return allowed / max(moved, 1e-12), evidence


def _loss_is_still(curves: Curves) -> tuple[float, list[Evidence]] | None:
    """Without a reference: the loss of the same held-out rows, which scatters least."""
    moved, held_out = _held_out_fall(curves)
    if moved > STILL_LOSS or abs(curves.drift().level().value) > DRIFTED:
        return None
    evidence = [seen(curves.over("loss", TAIL)), seen(held_out)]
    return STILL_LOSS / max(moved, 1e-12), evidence


def _reward_is_still(curves: Curves) -> tuple[float, list[Evidence]] | None:
    """Rewards at the end are those of the head it started with: their level, and their spread.

    Labels that are noise leave accuracy at a half, too, but there the model does learn something:
    that no response is better than another.
    """
    moved, held_out = _held_out_fall(curves)
    levels = [_rewards(curves).part(part, curves.last_step) for part in (HEAD, TAIL)]
    spreads = [_size(curves.margin().part(part, curves.last_step)) for part in (HEAD, TAIL)]
    evidence = [seen(curves.over("loss", TAIL)), seen(held_out), *map(seen, levels)]
    evidence += map(seen, spreads)
    still = (
        moved <= SMALLEST_FALL
        and abs(levels[1].level().value - levels[0].level().value) <= STILL
        and _alike(spreads, SPREAD)
    )
    if still and curves.has("grad_norm"):
        norms = [_size(curves.over("grad_norm", part)) for part in (OUTSET, TAIL)]
        still = _alike(norms, STEEPNESS)
        evidence += map(seen, norms)
    return (SMALLEST_FALL / max(moved, 1e-12), evidence) if still else None


def _held_out_fall(curves: Curves) -> tuple[float, Curve]:
    """The share by which the loss of held-out rows changed between evaluations."""
    held_out = curves.get(HELD_OUT + "loss")
    if len(held_out) < 2:
        raise MissingMetric(f"{HELD_OUT}loss twice")
    return abs(1 - float(held_out.values[-1]) / float(held_out.values[0])), held_out


def _size(curve: Curve) -> Curve:
    name = curve.name if (curve.values >= 0).all() else f"size of {curve.name}"
    return Curve(name, curve.steps, np.abs(curve.values))


def _alike(stretches: Sequence[Curve], factor: float) -> bool:
    """Whether the medians of two stretches are within a factor of each other."""
    first, last = (float(np.median(stretch.values)) for stretch in stretches)
    return first <= factor * last and last <= factor * first


def beta_too_large(curves: Curves) -> Finding | None:
    """The loss is content although the policy has hardly moved: the reference holds it."""
    if curves.is_reward_model or not curves.has_reference:
        return None
    reward = curves.margin().part(TAIL, curves.last_step)
    ratio = curves.ratio_margin().part(TAIL, curves.last_step)
    share = abs(ratio.level().value) / curves.surprisal()
    if reward.level().value < SATISFIED or share > HELD:
        return None
    return Finding(
        "beta_too_large",
        "serious",
        HELD / max(share, 1e-12),
        f"A margin of {ratio.level().value:.2g} nats, {100 * share:.1f}% of a response's "
        "log-probability, is enough to content the loss, because beta multiplies it by "
        f"{curves.beta():.3g}. The policy answers as before.",
        (seen(reward), seen(ratio)),
        f"Lower options.beta (here {curves.beta():.3g}) by a factor of 3 to 10.",
    )


def beta_too_small(curves: Curves) -> Finding | None:
    """A margin costs more likelihood than a response has: the loss pulls until the text is gone."""
    if curves.is_reward_model or not curves.has_reference:
        return None
    reward = curves.margin().part(TAIL, curves.last_step)
    ratio = curves.ratio_margin().part(TAIL, curves.last_step)
    share = abs(ratio.level().value) / curves.surprisal()
    price = 1 / max(curves.beta() * curves.surprisal(), 1e-12)
    if price <= PRICE or share < MOVED:
        return None
    return Finding(
        "beta_too_small",
        "serious",
        price / PRICE,
        f"With beta {curves.beta():.3g}, a margin of one log-odds costs {price:.3g} times the "
        f"log-probability of a response. The policy has moved by {ratio.level().value:.3g} nats, "
        "and the loss pulls as at first: the reference holds nothing.",
        (seen(reward), seen(ratio), seen(curves.drift())),
        f"Raise options.beta (here {curves.beta():.3g}) until a log-odds costs a tenth of a "
        f"response's log-probability: about {10 / curves.surprisal():.2g}.",
    )
