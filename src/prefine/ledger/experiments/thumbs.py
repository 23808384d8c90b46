"""Thumbs up and thumbs down teach what pairs do, if what they are judged against is right.

World: 40 prompts with 32 responses that share 12 features; people compare two and give the better
one a thumb up and the other a thumb down, or one of the two is kept. For the weights of `bco`:
single responses with 20 features, to prompts that are mostly liked or mostly disliked, and the
prompt shows in the response.
Truth: gold rewards and probabilities are exact, and so is the density of either kind of prompt.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from prefine.ledger.descend import descend
from prefine.ledger.entry import Bound, Entry, Metrics
from prefine.ledger.worlds.crowd import Crowd
from prefine.ledger.worlds.linear import Linear
from prefine.ledger.worlds.tabular import Rows, total_variation
from prefine.objectives import apo_zero, apo_zero_unpaired, bco, dpo, kto
from prefine.objectives.unpaired import MISMATCHED
from prefine.scores import Scores

Loss = Callable[[Scores], Tensor]
THUMBS, STEPS, RATE, BETA = 600, 200, 0.03, 0.1
LIKED = 0.9
WORSE = -0.5
SINGLE, APART, SMALLEST, LARGEST = 4_000, 1.0, 0.5, 10.0


def thumbs(pairs: Rows, liked: int, disliked: int) -> Rows:
    """Return the winners of the first pairs with a thumb up, and losers of others with one down.

    Where there are too few pairs for that, losers are of the same pairs again.
    """
    after = liked if liked + disliked <= len(pairs) else 0
    up, down = slice(0, liked), slice(after, after + disliked)
    response = torch.cat([pairs.response[up, :1], pairs.response[down, 1:]])
    label = torch.arange(len(response))[:, None] < liked
    prompt = torch.cat([pairs.prompt[up], pairs.prompt[down]])
    weight = torch.full((len(prompt),), 1 / len(prompt), dtype=pairs.weight.dtype)
    return Rows(prompt, response, weight, {"label": label})


def fit(world: Crowd, loss: Loss, rows: Rows, seed: int) -> Tensor:
    """Return the policy that a loss finds from thumbs.

    A mismatched response, which `kto` asks for, is the place of another row's response.
    """

    def scores(weights: Tensor, at: Tensor) -> Scores:
        policy, some = world.policy(weights), rows.take(at)
        other = (some.prompt, some.response[:, 0].roll(1))
        mismatched = policy[other] - world.table.reference[other]
        return world.table.scores(policy, some, columns={MISMATCHED: mismatched})

    start = torch.zeros_like(world.taste)
    how: dict[str, Any] = {"steps": STEPS, "rate": RATE, "seed": seed}
    return world.policy(descend(loss, scores, start, len(rows), **how))


def frozen(loss: Loss) -> Loss:
    """Return a loss whose moving statistic stays where it began, at 0."""
    return lambda scores: loss(scores)


def run_kto(seed: int) -> Metrics:
    """Learn from nine thumbs up for each one down."""
    generator = torch.Generator().manual_seed(1_000 + seed)
    world = Crowd.drawn(seed)
    pairs = world.table.some_pairs(THUMBS, generator)
    liked = round(LIKED * THUMBS)
    rows = thumbs(pairs, liked, THUMBS - liked)
    weighted = partial(kto, beta=BETA, undesirable_weight=LIKED / (1 - LIKED))
    few = replace(
        pairs, prompt=pairs.prompt[: THUMBS // 2], response=pairs.response[: THUMBS // 2],
        weight=pairs.weight[: THUMBS // 2],
    )  # fmt: skip
    found = {
        "gold": fit(world, weighted(), rows, seed),
        "gold/control": fit(world, kto(beta=BETA), rows, seed),
        "gold/baseline": world.fit(partial(dpo, beta=BETA), few, steps=STEPS, rate=RATE, seed=seed),
        "gold/no baseline of its own": fit(world, frozen(weighted()), rows, seed),
    }
    return {name: world.table.gold(policy) for name, policy in found.items()}


def run_apo(seed: int) -> Metrics:
    """Learn from thumbs that were given to different responses."""
    generator = torch.Generator().manual_seed(1_000 + seed)
    world = Crowd.drawn(seed)
    pairs = world.table.some_pairs(THUMBS, generator)
    loss = partial(apo_zero_unpaired, beta=BETA)
    found = {
        "gold": fit(world, loss, thumbs(pairs, THUMBS // 2, THUMBS // 2), seed),
        "gold/control": fit(world, loss, thumbs(pairs, THUMBS, 0), seed),
        "gold/baseline": world.fit(
            partial(apo_zero, beta=BETA), pairs, steps=STEPS, rate=RATE, seed=seed
        ),
    }
    return {name: world.table.gold(policy) for name, policy in found.items()}


def run_bco(seed: int) -> Metrics:
    """Learn from a writer under whom all rewards fall, then from two kinds of prompts."""
    generator = torch.Generator().manual_seed(1_000 + seed)
    world = Crowd.drawn(seed)
    worse = world.policy(WORSE * world.taste)
    pairs = world.table.some_pairs(THUMBS, generator, behaviour=worse)
    rows = thumbs(pairs, THUMBS, THUMBS)
    found = {
        "": fit(world, bco(beta=BETA), rows, seed),
        "/control": fit(world, frozen(bco(beta=BETA)), rows, seed),
        "/kto": fit(world, kto(beta=BETA), rows, seed),
    }
    paired = world.fit(partial(dpo, beta=BETA), pairs, steps=STEPS, rate=RATE, seed=seed)
    distance = {arm: total_variation(policy, paired) for arm, policy in found.items()}
    return {
        **{f"distance{arm}": value for arm, value in distance.items()},
        "distance/baseline": total_variation(world.table.reference, paired),
        **{f"gold{arm}": world.table.gold(policy) for arm, policy in found.items()},
        "gold/baseline": world.table.gold(paired),
        **two_kinds_of_prompts(seed),
    }


def two_kinds_of_prompts(seed: int) -> Metrics:
    """Return what the density ratio adds to the share of pairs that are ordered right."""
    generator = torch.Generator().manual_seed(2_000 + seed)
    world = Linear.drawn(seed)
    mark = torch.randn(len(world.taste), generator=generator, dtype=world.taste.dtype)
    own = world.responses(SINGLE, generator, k=1)[:, 0]
    chance, prompt, mixed = torch.rand(3, SINGLE, generator=generator, dtype=own.dtype)
    liked = chance < world.gold(own).sigmoid()
    normal = torch.special.ndtri(prompt.clamp(1e-9, 1 - 1e-9))
    place = normal + torch.where(liked, APART, -APART)
    features = own + place[:, None] * mark / mark.norm()
    ratio = (2 * APART * place).exp().clamp(SMALLEST, LARGEST)
    weight = torch.where(liked, 1.0, ratio)
    shuffled = weight.clone()
    bad = (~liked).nonzero().squeeze(1)
    shuffled[bad] = ratio[bad[mixed[bad].argsort()]]

    def scores(weights: Tensor, at: Tensor, of: Tensor) -> Scores:
        policy = (features[at] @ weights)[:, None]
        return Scores(
            policy, torch.ones_like(policy), reference=torch.zeros_like(policy),
            label=liked[at][:, None], weight=of[at],
        )  # fmt: skip

    held_out = world.responses(SINGLE, generator)
    accuracy = {
        arm: world.accuracy(
            descend(
                bco(beta=1.0), partial(scores, of=of), torch.zeros_like(world.taste), SINGLE,
                steps=STEPS, rate=RATE, seed=seed,
            ),
            held_out,
        )
        for arm, of in (("", weight), ("/control", shuffled), ("/plain", torch.ones_like(weight)))
    }  # fmt: skip
    plain = accuracy["/plain"]
    return {f"weights{arm}": accuracy[arm] - plain for arm in ("", "/control")}


WORLD = "40 prompts with 32 responses that share 12 features; {}."
EXPECTED = "expected gold reward"

ENTRIES = (
    Entry(
        name="kto",
        source="Ethayarajh et al. 2024, arXiv:2402.01306, section 4.1.",
        claim="With weights that balance them, nine thumbs up for each one down still teach.",
        world=WORLD.format("600 thumbs, nine of ten up"),
        worlds=("crowd", "tabular"),
        baseline="`dpo` on 300 pairs, as many responses with half of them losers.",
        control="The same loss with both weights at 1.",
        bounds=(Bound("gold", EXPECTED, at_least=2.5),),
        run=run_kto,
        tried=(
            "The loss without its moving baseline does the same to every digit: mismatched "
            "responses become less likely here, so the baseline stays at 0."
        ),
    ),
    Entry(
        name="apo_zero_unpaired",
        source="D'Oosterlinck et al. 2024, arXiv:2408.06266, section 3, on single responses.",
        claim="Judged against 0, likes and dislikes of different responses teach without pairs.",
        world=WORLD.format("300 thumbs up, and 300 down for other pairs' losers"),
        worlds=("crowd", "tabular"),
        baseline="`apo_zero` on 600 pairs, twice as many responses.",
        control="Likes alone, as many thumbs in all.",
        bounds=(Bound("gold", EXPECTED, at_least=3.0),),
        run=run_apo,
    ),
    Entry(
        name="bco",
        numbers=("#92",),
        source="Jung et al. 2024, arXiv:2404.04656, equations 10 and 11.",
        claim="A threshold midway brings thumbs near DPO; a density ratio mends skewed prompts.",
        world=WORLD.format("600 pairs of a writer who is worse than the policy, told as thumbs"),
        worlds=("crowd", "linear", "tabular"),
        baseline="`dpo` on the pairs: for the distance, how far it moved from the reference.",
        control="For the distance: a threshold of 0. For the weights: shuffled among dislikes.",
        bounds=(
            Bound("distance", "total variation to what dpo learns of the pairs", at_most=0.3),
            Bound("weights", "share of pairs ordered right, above equal weights", at_least=0.02),
        ),
        run=run_bco,
    ),
)
