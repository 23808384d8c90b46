"""Losses that were made for pictures, held against exact answers that need no picture.

World: tables of responses with rewards; pairs with 20 features of which some are labelled the wrong
way round; 40 prompts with 32 responses that share 12 features; and points in the plane.
Truth: the optimum under a KL penalty, the taste, and exact probabilities.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from prefine.ledger.descend import descend
from prefine.ledger.entry import Bound, Entry, Metrics
from prefine.ledger.worlds.crowd import Crowd
from prefine.ledger.worlds.linear import Linear
from prefine.ledger.worlds.tabular import Rows, Tabular, total_variation
from prefine.objectives import (
    apo_zero_unpaired,
    clipped_dpo,
    diffusion_kto,
    dpo,
    mapo,
    reward_weighted,
    smoothed_dpo,
)
from prefine.scores import Scores

Loss = Callable[[Scores], Tensor]
TEMPERATURE, HELD_BACK = 0.5, 1.0
PAIRS, STEPS, RATE, HELD_OUT = 600, 200, 0.03, 4_000
FLIPS, REWARD_ERROR, SURE, STRENGTH = 0.3, 1.0, 10.0, 4.5
FLOOR, BETA = 1.0, 0.1
LIKED = 0.9
SLOPE, PAINTED, ERRORS = (2.0, 0.0), 2_000, 10.0


def run_reward_weighted(seed: int) -> Metrics:
    """Imitate all that the reference writes, by its reward."""
    world = Tabular.drawn(seed)
    every = torch.arange(world.reward.shape[1])[:, None]
    weight = world.reference[0].exp()
    rows = Rows(torch.zeros_like(every[:, 0]), every, weight, {"utility": world.reward[0][:, None]})
    truth = world.optimum(TEMPERATURE)
    loss = partial(reward_weighted, temperature=TEMPERATURE)
    return {
        "distance": total_variation(world.fit(partial(loss, largest=1e6), rows), truth),
        "distance/control": total_variation(
            world.fit(partial(loss, largest=HELD_BACK), rows), truth
        ),
        "distance/baseline": total_variation(world.reference, truth),
    }


def run_smoothed(seed: int) -> Metrics:
    """Learn from labels of which three in ten are wrong, beside a reward that errs."""
    generator = torch.Generator().manual_seed(1_000 + seed)
    world = Linear.drawn(seed, strength=STRENGTH)
    pairs = world.judged(world.responses(PAIRS, generator), generator, (FLIPS,))
    held_out = world.responses(HELD_OUT, generator)
    error = torch.randn(PAIRS, 2, generator=generator, dtype=world.taste.dtype)
    told = world.gold(pairs.features) + REWARD_ERROR * error
    low, high = float(told.min()), float(told.max())
    shuffled = told[torch.randperm(PAIRS, generator=generator)]

    def accuracy(loss: Loss, utility: Tensor, prob: Tensor | None = None) -> float:
        def scores(weights: Tensor, at: Tensor) -> Scores:
            policy = pairs.features[at] @ weights
            return Scores(
                policy, torch.ones_like(policy), reference=torch.zeros_like(policy),
                utility=utility[at], prob=None if prob is None else prob[at],
            )  # fmt: skip

        start = torch.zeros_like(world.taste)
        found = descend(loss, scores, start, PAIRS, steps=STEPS, rate=RATE, seed=seed)
        return world.accuracy(found, held_out)

    loss = partial(smoothed_dpo, beta=1.0, gamma=SURE, low=low, high=high)
    right = {
        "": accuracy(loss, told),
        "/control": accuracy(loss, shuffled),
        "/baseline": accuracy(partial(dpo, beta=1.0), told),
        "/labels by the reward": accuracy(
            partial(dpo, beta=1.0), told, (told[:, 0] > told[:, 1]).to(told)
        ),
    }
    return {
        **{f"gain{arm}": right[arm] - right["/baseline"] for arm in ("", "/control")},
        **{f"accuracy{arm}": share for arm, share in right.items()},
    }


def run_clipped(seed: int) -> Metrics:
    """Learn from pairs until the losers are as far down as the floor."""
    generator = torch.Generator().manual_seed(1_000 + seed)
    world = Crowd.drawn(seed)
    pairs = world.table.some_pairs(PAIRS, generator)
    arms = {
        "": partial(clipped_dpo, beta=BETA, floor=FLOOR),
        "/control": partial(clipped_dpo, beta=BETA, floor=1e6),
        "/baseline": partial(dpo, beta=1.0),
    }
    found: dict[str, float] = {}
    for arm, loss in arms.items():
        policy = world.fit(loss, pairs, steps=STEPS, rate=RATE, seed=seed)
        chosen, rejected = world.moved(policy, pairs).mean(0).tolist()
        found |= {f"rejected{arm}": rejected, f"lead{arm}": chosen - rejected}
        found |= {f"chosen{arm}": chosen, f"gold{arm}": world.table.gold(policy)}
    return found


def run_diffusion_kto(seed: int) -> Metrics:
    """Learn from thumbs of which nine in ten are up."""
    generator = torch.Generator().manual_seed(1_000 + seed)
    world = Crowd.drawn(seed)
    pairs = world.table.some_pairs(PAIRS, generator)
    liked = round(LIKED * PAIRS)
    response = torch.cat([pairs.response[:liked, :1], pairs.response[liked:, 1:]])
    fields = {"label": torch.arange(PAIRS)[:, None] < liked}
    rows = Rows(pairs.prompt, response, pairs.weight, fields)
    weights = {"undesirable_weight": LIKED / (1 - LIKED)}

    def gold(loss: Loss) -> float:
        def scores(weights: Tensor, at: Tensor) -> Scores:
            return world.table.scores(world.policy(weights), rows.take(at))

        start = torch.zeros_like(world.taste)
        found = descend(loss, scores, start, PAIRS, steps=STEPS, rate=RATE, seed=seed)
        return world.table.gold(world.policy(found))

    return {
        "gold": gold(partial(diffusion_kto, beta=BETA, **weights)),
        "gold/control": gold(partial(diffusion_kto, beta=BETA)),
        "gold/baseline": gold(partial(apo_zero_unpaired, beta=BETA)),
    }


def run_mapo(seed: int) -> Metrics:
    """Learn where to paint: one point of the plane, for all prompts."""
    generator = torch.Generator().manual_seed(1_000 + seed)
    slope = torch.tensor(SLOPE, dtype=torch.float64)
    drawn = torch.randn(PAINTED, 2, len(slope), generator=generator, dtype=slope.dtype)
    chance = torch.rand(PAINTED, generator=generator, dtype=slope.dtype)
    first = chance < torch.sigmoid((drawn @ slope).diff(dim=1).squeeze(1).neg())
    points = torch.where(first[:, None, None], drawn, drawn.flip(1))

    def scores(place: Tensor, at: Tensor) -> Scores:
        error = (points[at] - place).square().mean(-1, keepdim=True)
        mask = torch.ones_like(error).bool()
        elements = {"error": error, "mask": mask}
        return Scores(-error[..., 0], torch.ones_like(error[..., 0]), elements=elements)

    def reward(beta: float, steps: int = STEPS) -> float:
        loss = partial(mapo, beta=beta, temperature=ERRORS)
        start = torch.zeros_like(slope)
        found = descend(loss, scores, start, PAINTED, steps=steps, rate=0.05, seed=seed)
        return float(found @ slope)

    imitated = float(points[:, 0].mean(0) @ slope)
    once, twice = reward(1.0), reward(1.0, 2 * STEPS)
    return {
        "gain": once - imitated,
        "gain/control": reward(1e-6) - imitated,
        "gain/usual weight": reward(0.1) - imitated,
        "moved": abs(twice - once),
        "reward/baseline": imitated,
    }


ENTRIES = (
    Entry(
        name="mapo",
        source="Hong et al. 2024, arXiv:2406.06424.",
        claim="Without a reference, a bounded margin goes beyond imitation and comes to rest.",
        world="2,000 pairs of points in the plane, judged by how far right; one place is learnt.",
        worlds=(),
        baseline="The mean of the winners, which is what imitation finds.",
        control="The same loss with next to no weight on the margin.",
        bounds=(
            Bound("gain", "reward of what is painted, above imitation", at_least=0.3),
            Bound("moved", "reward gained in as many steps again", at_most=0.05, control=False),
        ),
        run=run_mapo,
    ),
    Entry(
        name="reward_weighted",
        source="Peters and Schaal 2007; for flows: Liu et al. 2025, arXiv:2501.13918.",
        claim="Imitation weighted by exp(r / temperature) lands on the optimum of that penalty.",
        world="One prompt, eight responses as often as the reference writes them, with rewards.",
        baseline="The reference policy as it came.",
        control="The same with no weight above 1, so that what is good counts like what is fair.",
        bounds=(Bound("distance", "total variation to the exact optimum", at_most=0.01),),
        run=run_reward_weighted,
    ),
    Entry(
        name="smoothed_dpo",
        source="SmPO-Diffusion, arXiv:2506.02698, by a detailed public note.",
        claim="Strength that follows a reward, even one that errs, keeps wrong labels from harm.",
        world="600 pairs with 20 features, 30% labelled wrong; rewards with an error of 1.",
        worlds=("linear",),
        baseline="`dpo`, which believes every label.",
        control="The same loss with the rewards of other pairs.",
        bounds=(Bound("gain", "share of clean pairs ordered right, above dpo", at_least=0.05),),
        run=run_smoothed,
        tried=(
            "Where there is such a reward, labels made from it alone and given to `dpo` do better "
            "still: the strength helps, but the labels that it keeps do not."
        ),
    ),
    Entry(
        name="clipped_dpo",
        source="TPO, arXiv:2509.25771, asks for gradient clipping; this form is ours.",
        claim="A losing response is pushed down as far as a floor and then left alone.",
        world="40 prompts with 32 responses that share 12 features; 600 pairs as people judge.",
        worlds=("crowd", "tabular"),
        baseline="`dpo` with a beta of 1, which holds both responses nearer.",
        control="The same loss with a floor that is never reached, which is `dpo`.",
        bounds=(
            Bound("rejected", "nats that the rejected response gained", at_least=-2 * FLOOR),
            Bound("lead", "nats by which the chosen leads", at_least=0.5, control=False),
        ),
        run=run_clipped,
    ),
    Entry(
        name="diffusion_kto",
        source="Li et al. 2024, arXiv:2404.04465.",
        claim="Thumbs alone, nine of ten up, teach with the step's own mean for a baseline.",
        world="40 prompts with 32 responses that share 12 features; 600 thumbs, nine of ten up.",
        worlds=("crowd", "tabular"),
        baseline="Thumbs judged against 0 (`apo_zero_unpaired`), with equal weights.",
        control="The same loss with both weights at 1.",
        bounds=(Bound("gold", "expected gold reward", at_least=2.5),),
        run=run_diffusion_kto,
    ),
)
