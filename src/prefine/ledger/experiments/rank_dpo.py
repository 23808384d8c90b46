"""Lists that several judges compared: all of their pairs, weighted or not, or the two ends alone.

World: lists of four responses with 20 features. Five judges compare every two of a list, and a
share of their answers is the wrong way round; a response's label is the share of comparisons that
it won, as pictures are labelled for RankDPO.
Truth: the taste, by which held-out pairs are ordered.
"""

from functools import partial

import torch
from torch import Tensor

from prefine.ledger.descend import descend
from prefine.ledger.entry import Bound, Entry, Metrics
from prefine.ledger.worlds.linear import Linear
from prefine.objectives import dpo, lipo, ranklist
from prefine.objectives.declare import Loss
from prefine.scores import Scores
from prefine.training.presets import PRESETS

LISTS, SIZE, JUDGES, HELD_OUT = 100, 4, 5, 4_000
STEPS, RATE, BETAS, FLIPS = 100, 0.04, (1.0, 4.0), 0.3
REPEATS = 3
"""Worlds of a seed, whose numbers are averaged: a hundred lists say little of themselves."""

RANK_BY = PRESETS["rank_dpo"].options["rank_by"]


def run(seed: int) -> Metrics:
    """Learn from lists whose labels are right, and from lists with three answers in ten wrong."""
    worlds = [measured(REPEATS * seed + n) for n in range(REPEATS)]
    return {name: sum(one[name] for one in worlds) / REPEATS for name in worlds[0]}


def measured(seed: int) -> Metrics:
    """Return the numbers of one world."""
    found: dict[str, float] = {}
    for flips, name in ((FLIPS, "gain"), (0.0, "gain without noise")):
        accuracy = each_arm(seed, flips)
        for arm in ("", "/control"):
            found[f"{name}{arm}"] = accuracy[arm] - accuracy["/baseline"]
        found[f"{name} of the weights"] = accuracy[""] - accuracy["/all pairs alike"]
        found[f"{name} of the weights/control"] = 0.0
        found |= {f"accuracy, {flips:g} wrong{arm}": share for arm, share in accuracy.items()}
    return found


def each_arm(seed: int, flips: float) -> dict[str, float]:
    """Return the share of held-out pairs that each arm orders right, at its best strength."""
    generator = torch.Generator().manual_seed(1_000 + seed)
    world = Linear.drawn(seed)
    lists, label = labelled(world, flips, generator)
    held_out = world.responses(HELD_OUT, generator)
    weighted = partial(lipo, rank_by=RANK_BY)
    arms = {
        "": (weighted, lists, label),
        "/control": (weighted, *ends_twice(lists, label)),
        "/baseline": (ends, lists, label),
        "/all pairs alike": (ranklist, lists, label),
    }
    return {
        arm: max(
            world.accuracy(learnt(partial(loss, beta=beta), seen, said, seed), held_out)
            for beta in BETAS
        )
        for arm, (loss, seen, said) in arms.items()
    }


def labelled(world: Linear, flips: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return lists [B, K, D], best label first, and labels [B, K]: shares of comparisons won."""
    features = world.responses(LISTS, generator, k=SIZE)
    value = world.gold(features)
    upper = torch.ones(SIZE, SIZE, dtype=torch.bool).triu(1)
    wins = torch.zeros_like(value)
    for _ in range(JUDGES):
        wrong = torch.rand(LISTS, SIZE, SIZE, generator=generator) < flips
        first = ((value[:, :, None] > value[:, None, :]) ^ wrong) & upper
        wins += (first | (~first.mT & upper.T)).sum(2)
    label = wins / (JUDGES * (SIZE - 1))
    order = label.argsort(dim=1, descending=True, stable=True)
    return features.gather(1, order[..., None].expand_as(features)), label.gather(1, order)


def ends_twice(lists: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """Return lists of the best twice and the worst twice: as long, and nothing else compared."""
    at = [0, 0, SIZE - 1, SIZE - 1]
    return lists[:, at], label[:, at]


def ends(scores: Scores, *, beta: float) -> Tensor:
    """Return the loss of `dpo` on the best and the worst of each list."""
    at = torch.tensor([[0, SIZE - 1]]).expand(len(scores.policy), 2)
    return dpo(scores.take(at), beta=beta)


def learnt(loss: Loss, lists: Tensor, label: Tensor, seed: int) -> Tensor:
    """Return the [D] direction that a loss finds."""

    def scores(weights: Tensor, at: Tensor) -> Scores:
        policy = lists[at] @ weights
        return Scores(
            policy, torch.ones_like(policy), reference=torch.zeros_like(policy), utility=label[at]
        )

    start = torch.zeros(lists.shape[-1], dtype=lists.dtype)
    return descend(loss, scores, start, len(lists), steps=STEPS, rate=RATE, seed=seed)


ENTRY = Entry(
    name="rank_dpo",
    numbers=("#7",),
    source="Karthik et al. 2024, arXiv:2410.18013, equations 5 to 7.",
    claim="All pairs of a list, weighted by gain and rank, teach more than its best and its worst.",
    world="100 lists of four with 20 features; five judges, three in ten of their answers wrong.",
    worlds=("linear",),
    baseline=(
        "`dpo` on the best and the worst of each list; for the weights, all pairs alike "
        "(`ranklist`). The same steps and strengths."
    ),
    control="For the lists: the best and the worst twice each. For the weights: none of them.",
    bounds=(
        Bound("gain", "pairs ordered right, above dpo on best and worst", at_least=0.02),
        Bound("gain without noise", "the same where no answer is wrong", at_least=0.03),
        Bound("gain of the weights", "the same above all pairs alike", at_least=0.005),
    ),
    run=run,
    grid={"beta": BETAS},
    tried=(
        "Without wrong answers the weights cost a point, since pairs in the middle, which they "
        "hold for little, teach as well; with one judge and up to three wrong answers in ten they "
        "cost or gain nothing. Lists beat best and worst in each of these."
    ),
)
