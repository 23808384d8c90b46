"""Labels as hidden variables tell who can be trusted, and learn the taste from the rest.

World: 3,000 pairs of responses with 20 features, judged by three raters who turn 5, 20 and 40% of
their labels around; the policy is linear in the same features.
Truth: the raters' rates, and the taste that made the labels.
"""

from functools import partial

import torch

from prefine.ledger.entry import Bound, Entry, Metrics
from prefine.ledger.worlds.linear import Judged, Linear
from prefine.objectives import dpo, robust_em

FLIPS = (0.05, 0.2, 0.4)
PAIRS, HELD_OUT, STEPS, STRENGTH = 3_000, 4_000, 800, 4.5
MEAN_FLIPS = sum(FLIPS) / len(FLIPS)


def run(seed: int) -> Metrics:
    """Fit four losses to the same noisy labels."""
    generator = torch.Generator().manual_seed(1_000 + seed)
    world = Linear.drawn(seed, strength=STRENGTH)
    pairs = world.judged(world.responses(PAIRS, generator), generator, FLIPS)
    unknown = Judged(pairs.features, pairs.wrong, torch.zeros_like(pairs.rater))
    held_out = world.responses(HELD_OUT, generator)
    loss = partial(dpo, beta=1.0)
    knowing = robust_em(loss, num_raters=3, warmup_steps=PAIRS // 64)
    blind = robust_em(loss, num_raters=1, warmup_steps=PAIRS // 64)
    how = {"steps": STEPS, "seed": seed}
    found = {
        "": world.fit(knowing, pairs, **how),
        "/blind": world.fit(blind, unknown, **how),
        "/baseline": world.fit(loss, pairs, **how),
        "/control": world.fit(partial(loss, label_noise=MEAN_FLIPS), pairs, **how),
    }
    accuracy = {arm: world.accuracy(weights, held_out) for arm, weights in found.items()}
    truth = 1 - torch.tensor(FLIPS, dtype=torch.float64)
    return {
        "reliability_error": float((knowing.eta[:3] - truth).abs().max()),
        "reliability_error/control": float((blind.eta[0] - truth).abs().max()),
        "gain": accuracy[""] - accuracy["/baseline"],
        "gain/control": accuracy["/control"] - accuracy["/baseline"],
        "gain/one rater": accuracy["/blind"] - accuracy["/baseline"],
        **{f"accuracy{arm}": value for arm, value in accuracy.items()},
    }


ENTRY = Entry(
    name="robust_em",
    numbers=("#68",),
    source="RE-PO (first LCPO), arXiv:2509.24159.",
    claim="The posterior of each label finds every rater's reliability, and helps any loss.",
    world="3,000 pairs with 20 features; three raters turn 5, 20 and 40% of their labels around.",
    worlds=("linear",),
    baseline="`dpo`, which believes every label.",
    control=(
        "For reliabilities: all labels as one rater's. For accuracy: the true mean rate as label "
        "smoothing, without a posterior."
    ),
    bounds=(
        Bound("reliability_error", "largest error of a rater's reliability", at_most=0.05),
        Bound("gain", "share of clean pairs ordered right, above dpo", at_least=0.01),
    ),
    run=run,
    tried=(
        "On four other seeds the largest error was 0.024 [0.020, 0.028]; here one seed of ten errs "
        "by 0.07 and the interval ends at 0.051. The rates are the last value of a moving average "
        "over batches of 64, of which a third is one rater's."
    ),
)
