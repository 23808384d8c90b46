"""A picture's own caption against a changed one, beside imitation of the pictures under their own.

World: four clouds with a caption each, and the exact denoiser of one Gaussian for each caption,
whose base learnt from captions of which four in ten were drawn at random.
Truth: how often a sample falls where its caption asks, and how far each mean is from its cloud.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from prefine.ledger.descend import descend
from prefine.ledger.entry import Bound, Entry, Metrics
from prefine.ledger.worlds.captioned import CLOUDS, Captioned
from prefine.objectives import clipped_dpo, diffusion_kto, dpo, sft
from prefine.objectives.declare import Loss
from prefine.scores import Scores

PICTURES, STEPS, BATCH, RATE = 2_000, 200, 128, 0.02
BETAS, FLOOR = (0.5, 2.0, 10.0), 0.5
Captions = Tensor


def run(seed: int) -> Metrics:
    """Align the denoiser with each loss, at the strength with which samples follow best."""
    generator = torch.Generator().manual_seed(1_000 + seed)
    world = Captioned()
    own = torch.randint(len(CLOUDS), (PICTURES,), generator=generator)
    points = world.points(own, generator)
    changed = (own + torch.randint(1, len(CLOUDS), (PICTURES,), generator=generator)) % len(CLOUDS)
    both = torch.stack([own, changed], 1)
    coin = torch.rand(PICTURES, 1, generator=generator) < 0.5
    told = torch.where(coin, both.flip(1), both)
    others = world.points(changed, generator)
    pictures = torch.stack([points, points], 1)
    fit = partial(best, world, seed=seed)
    arms = {
        "": fit(partial(clipped_dpo, floor=FLOOR), pictures, both),
        "/control": fit(partial(clipped_dpo, floor=FLOOR), pictures, told),
        "/unclipped": fit(dpo, pictures, both),
        "/thumbs": fit(diffusion_kto, pictures, both, thumbs=True),
        "/thumbs, control": fit(diffusion_kto, pictures, told, thumbs=True),
        "/pictures compared": fit(dpo, torch.stack([points, others], 1), own[:, None].repeat(1, 2)),
        "/baseline": aligned(world, sft, pictures[:, :1], own[:, None], seed),
    }
    follows = {arm: world.follows(means) for arm, means in arms.items()}
    distance = {arm: world.distance(means) for arm, means in arms.items()}
    base, imitation = world.follows(world.base), follows["/baseline"]
    return {
        "gain": follows[""] - base,
        "gain/control": follows["/control"] - base,
        "gain of thumbs": follows["/thumbs"] - base,
        "gain of thumbs/control": follows["/thumbs, control"] - base,
        "above imitation": follows[""] - imitation,
        "above imitation/control": follows["/control"] - imitation,
        "follows of the base": base,
        **{f"follows{arm}": value for arm, value in follows.items()},
        "distance/control": distance["/unclipped"],
        "distance of the base": world.distance(world.base),
        **{f"distance{arm}": distance[arm] for arm in ("", "/thumbs", "/baseline")},
        "distance/pictures compared": distance["/pictures compared"],
    }


def best(
    world: Captioned,
    loss: Callable[..., Tensor],
    pictures: Tensor,
    captions: Captions,
    *,
    seed: int,
    thumbs: bool = False,
) -> Tensor:
    """Return the means that follow best over the grid of strengths."""
    found = [
        aligned(world, partial(loss, beta=beta), pictures, captions, seed, thumbs=thumbs)
        for beta in BETAS
    ]
    return max(found, key=world.follows)


def aligned(
    world: Captioned,
    loss: Loss,
    pictures: Tensor,
    captions: Captions,
    seed: int,
    *,
    thumbs: bool = False,
) -> Tensor:
    """Return the [4, 2] means after training on rows of a picture and a caption for each place.

    Args:
        world: The clouds.
        loss: An objective.
        pictures: [N, K, 2].
        captions: [N, K].
        seed: Of the order, and of times and noise, which the items of a row share.
        thumbs: Whether either item is a row of its own, the first of them liked.
    """
    generator = torch.Generator().manual_seed(2_000 + seed)
    count, places = captions.shape
    base = world.base

    def scores(means: Tensor, at: Tensor) -> Scores:
        time = torch.rand(len(at), generator=generator, dtype=means.dtype)
        noise = torch.randn(len(at), 2, generator=generator, dtype=means.dtype)
        shared = (time.repeat_interleave(places), noise.repeat_interleave(places, 0))
        where = (pictures[at].reshape(-1, 2), captions[at].flatten())
        policy, reference = (
            world.scores(each, *where, *shared).view(len(at), places) for each in (means, base)
        )
        found = Scores(policy, torch.ones_like(policy), reference=reference)
        return one_by_one(found) if thumbs else found

    how = {"steps": STEPS, "batch": BATCH, "rate": RATE}
    return descend(loss, scores, base, count, seed=seed, **how)


def one_by_one(pairs: Scores) -> Scores:
    """Return the items of pairs [B, 2] as rows [2 B, 1], the first of each liked."""
    assert pairs.reference is not None
    liked = torch.tensor([True, False]).repeat(len(pairs.policy))[:, None]
    policy, reference = pairs.policy.reshape(-1, 1), pairs.reference.reshape(-1, 1)
    ones = torch.ones_like(policy)
    return replace(
        pairs, policy=policy, reference=reference, length=ones, label=liked, weight=ones[:, 0]
    )


ENTRY = Entry(
    name="text_preference",
    numbers=("#96",),
    source="TPO (TDPO and TKTO), arXiv:2509.25771. The clip on the losing side is ours.",
    claim="Own captions preferred to changed ones align a generator without any compared pictures.",
    world=(
        "Four clouds with captions; the exact denoiser of a Gaussian for each, whose base learnt "
        "from captions of which four in ten were random; 2,000 pictures with right captions."
    ),
    worlds=("captioned",),
    baseline=(
        "Imitation (`sft`) of the same pictures under their own captions, same steps; beside it, "
        "without a bound, `dpo` on pairs of pictures."
    ),
    control=(
        "A coin says which of the two captions is preferred or liked. For the distance: "
        "`dpo` on the captions, without the clip."
    ),
    bounds=(
        Bound("gain", "how often samples follow their caption, above the base", at_least=0.15),
        Bound("gain of thumbs", "the same of single captions, liked or not", at_least=0.25),
        Bound("distance", "from the means of samples to the clouds'", at_most=0.3),
        Bound("above imitation", "how often samples follow, above imitation", at_least=0.0),
    ),
    run=run,
    grid={"beta": BETAS},
    tried=(
        "Without the clip samples follow more often than the clouds themselves would, because "
        "they lie beyond them: they are pushed away from every other caption's cloud, and their "
        "means end as far off as those of the base. So do those of single captions, and of dpo on "
        "pairs of pictures. Imitation follows and stays near."
    ),
)
