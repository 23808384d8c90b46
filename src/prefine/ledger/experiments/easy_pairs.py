"""Pairs that a reward of other pairs finds clear teach more than as many at random.

World: 1,500 pairs of responses with 20 features, a quarter of the labels turned around; a reward
fitted to 1,500 other pairs of the same kind selects those of which it is surest.
Truth: the taste that made the labels.
"""

from functools import partial

import numpy as np
import torch
from torch import Tensor

from prefine.evaluation import split_by_margin
from prefine.ledger.entry import Bound, Entry, Metrics
from prefine.ledger.worlds.linear import Judged, Linear
from prefine.objectives import bradley_terry, dpo

PAIRS, HELD_OUT, FLIPS, STRENGTH, STEPS = 1_500, 4_000, 0.25, 4.5, 500


def run(seed: int) -> Metrics:
    """Fit `dpo` to selections of one size, and to all pairs."""
    generator = torch.Generator().manual_seed(1_000 + seed)
    world = Linear.drawn(seed, strength=STRENGTH)
    pairs, others = (
        world.judged(world.responses(PAIRS, generator), generator, (FLIPS,)) for _ in range(2)
    )
    held_out = world.responses(HELD_OUT, generator)
    reward = world.fit(bradley_terry, others, steps=STEPS, seed=seed)
    lead = -(pairs.features @ reward).diff(dim=1).squeeze(1)
    easy = torch.from_numpy(split_by_margin(lead.numpy()).easy).nonzero().squeeze(1)
    count = len(easy)
    chosen = {
        "": easy,
        "/control": lead.abs().argsort(descending=True)[:count],
        "/baseline": torch.randperm(PAIRS, generator=generator)[:count],
        "/all": torch.arange(PAIRS),
    }
    loss = partial(dpo, beta=1.0)
    found = {
        arm: world.fit(loss, part(pairs, at), steps=STEPS, seed=seed) for arm, at in chosen.items()
    }
    accuracy = {arm: world.accuracy(weights, held_out) for arm, weights in found.items()}
    at_random = accuracy["/baseline"]
    return {
        "gain": accuracy[""] - at_random,
        "gain/control": accuracy["/control"] - at_random,
        "gain/all": accuracy["/all"] - at_random,
        **{f"accuracy{arm}": value for arm, value in accuracy.items()},
        "accuracy/reward": world.accuracy(reward, held_out),
        "wrong labels": float(np.mean(pairs.wrong[easy].numpy())),
    }


def part(pairs: Judged, at: Tensor) -> Judged:
    """Return some of the pairs."""
    return Judged(pairs.features[at], pairs.wrong[at], pairs.rater[at])


ENTRY = Entry(
    name="easy_pairs",
    numbers=("#52",),
    source="Wang et al. 2024, arXiv:2403.19443, section 3; the sign of the lead is ours.",
    claim="The pairs whose labels a reward agrees with most teach more than as many at random.",
    world="1,500 pairs with 20 features, a quarter labelled wrongly; a reward of 1,500 others.",
    worlds=("linear",),
    baseline="As many pairs at random; beside it all of them.",
    control="As many pairs by the size of the lead, whatever its sign.",
    bounds=(
        Bound("gain", "share of clean pairs ordered right, above a random choice", at_least=0.01),
    ),
    run=run,
)
