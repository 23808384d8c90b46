"""The reason for a preference says where to look, so fewer pairs are needed.

World: pairs of responses with 20 attributes, of which two decide; people choose by Bradley-Terry
and name the deciding attribute that speaks most for their choice. A policy learns what a unit of
each attribute contributes; a preference is the sum of contributions, and its reason the word of the
attribute that contributes most, by a softmax with a sharpness that is learnt.
Truth: which of two held-out responses is better.
Reasons of other pairs still tell which attributes people speak of at all, which is half of it. And
what is learnt from reasons must be what preferences are made of: with a trunk of one to eight
directions, seen by two heads of their own, reasons gained nothing.
"""

from statistics import mean

import torch
from torch import Tensor

from prefine.ledger.descend import descend
from prefine.ledger.entry import Bound, Entry, Metrics
from prefine.objectives import dpo
from prefine.objectives.rationale import rationale_likelihood
from prefine.scores import Scores

SIZE, DECIDE, HELD_OUT, STRENGTH = 20, 2, 2_000, 2.0
FEW, WORLDS = 100, 3
STEPS, RATE, BETA, GAMMA, START = 200, 0.02, 1.0, 0.5, 0.1


def run(seed: int) -> Metrics:
    """Return the means over some worlds."""
    found = [compare(WORLDS * seed + number) for number in range(WORLDS)]
    return {name: mean(one[name] for one in found) for name in found[0]}


def compare(seed: int) -> Metrics:
    """Learn from few pairs with reasons and with those of other pairs, and from more without."""
    few = {
        "": learnt(seed, FEW, GAMMA), "/control": learnt(seed, FEW, GAMMA, shuffled=True),
    }  # fmt: skip
    plain = {count: learnt(seed, count, 0.0) for count in (FEW, 2 * FEW, 4 * FEW)}
    return {
        **{f"against twice the pairs{arm}": few[arm] - plain[2 * FEW] for arm in few},
        **{f"gain{arm}": few[arm] - plain[FEW] for arm in few},
        **{f"accuracy{arm}": few[arm] for arm in few},
        **{f"accuracy/no reasons, {count} pairs": plain[count] for count in plain},
    }


def learnt(seed: int, count: int, gamma: float, *, shuffled: bool = False) -> float:
    """Return the share of held-out pairs that are ordered right."""
    generator = torch.Generator().manual_seed(seed)
    taste = torch.zeros(SIZE, dtype=torch.float64)
    taste[torch.randperm(SIZE, generator=generator)[:DECIDE]] = STRENGTH
    start = START * torch.randn(SIZE + 1, generator=generator, dtype=torch.float64)
    start[-1] = 1.0
    held_out = torch.randn(HELD_OUT, SIZE, generator=generator, dtype=torch.float64)
    gap = torch.randn(4 * FEW, SIZE, generator=generator, dtype=torch.float64)
    chance = torch.rand(len(gap), generator=generator, dtype=torch.float64)
    gap = torch.where(chance[:, None] < torch.sigmoid(gap @ taste)[:, None], gap, -gap)[:count]
    reason = torch.where(taste > 0, gap * taste, -torch.inf).argmax(1)
    if shuffled:
        reason = reason[torch.randperm(count, generator=generator)]

    def scores(weights: Tensor, at: Tensor) -> Scores:
        contributes = gap[at] * weights[:SIZE]
        said = (weights[-1] * contributes).log_softmax(1).gather(1, reason[at, None])
        preference = contributes.sum(1, keepdim=True)
        policy = torch.cat([preference, torch.zeros_like(said), said], 1)
        return Scores(policy, torch.ones_like(policy), reference=torch.zeros_like(policy))

    def loss(scores: Scores) -> Tensor:
        rows = torch.arange(3).expand(len(scores.policy), -1)
        pair = dpo(scores.take(rows[:, :2]), beta=BETA)
        if not gamma:
            return pair
        return pair + rationale_likelihood(scores.take(rows[:, 2:]), gamma=gamma)

    found = descend(loss, scores, start, count, steps=STEPS, rate=RATE, seed=seed)
    ordered = (held_out @ found[:SIZE]) * (held_out @ taste) > 0
    return float(ordered.double().mean())


ENTRY = Entry(
    name="rationale_dpo",
    numbers=("#4",),
    source="Just et al. 2024, arXiv:2407.14477.",
    claim="Learning the reasons too, a policy needs half the pairs or fewer.",
    world="Pairs with 20 attributes of which two decide, with the one that decided named.",
    worlds=(),
    baseline="`dpo` on the same pairs, without reasons.",
    control="The same loss with the reasons of other pairs.",
    bounds=(
        Bound(
            "against twice the pairs",
            "share of held-out pairs ordered right, above no reasons on twice as many pairs",
            at_least=0.018,
        ),
        Bound(
            "gain", "the same, above no reasons on the same pairs", at_least=0.05, control=False
        ),
    ),
    run=run,
)  # fmt: skip
