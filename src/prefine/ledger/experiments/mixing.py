"""Sources of pairs are mixed by how far their gradients agree with that of a small target set.

World: eight sources with 20 features. Two share the taste that counts, one has all of its labels
turned around, five stand in between, at 60 to 120 degrees; every label is a noisy choice. Of the
target there are 40 pairs.
Truth: the tastes; accuracy is counted on 4,000 clean pairs of the target.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from prefine.estimators import GradientMixing, alignment
from prefine.ledger.descend import descend
from prefine.ledger.entry import Bound, Entry, Metrics
from prefine.ledger.worlds.domains import Domains
from prefine.objectives import dpo
from prefine.scores import Scores

ANGLES = (0.0, 0.0, 60.0, 75.0, 90.0, 105.0, 120.0, 180.0)
PAIRS, TARGET, HELD_OUT = 200, 40, 4_000
STEPS, BATCH, EVERY, PROBE, RATE, BETA = 300, 32, 5, 64, 0.02, 1.0
ETA, DECAY = 0.3, 0.9
Change = Callable[[Tensor], Tensor]


def run(seed: int) -> Metrics:
    """Train on sources mixed evenly, by gradients, by gradients of the wrong ones, and by truth."""
    generator = torch.Generator().manual_seed(1_000 + seed)
    world = Domains.drawn(seed, angles=ANGLES, own=1.0)
    sources = torch.stack([pairs_of(world, at, PAIRS, generator) for at in range(len(world))])
    target = pairs_of(world, 0, TARGET, generator)
    held_out = world.domain(0).responses(HELD_OUT, generator)
    even = torch.full((len(world),), 1 / len(world))
    oracle = torch.tensor([angle == 0 for angle in ANGLES]).float()
    found = {
        "": mixed(sources, target, seed),
        "/control": mixed(sources, target, seed, shuffled=True),
        "/baseline": (trained(sources, seed, lambda _: even), even),
        "/oracle": (trained(sources, seed, lambda _: oracle), oracle),
        "/target alone": (trained(target[None], seed, lambda _: torch.ones(1)), even),
    }
    accuracy = {arm: world.domain(0).accuracy(one, held_out) for arm, (one, _) in found.items()}
    return {
        **{f"gain{arm}": accuracy[arm] - accuracy["/baseline"] for arm in ("", "/control")},
        **{f"flipped{arm}": float(found[arm][1][-1]) for arm in ("", "/control")},
        **{f"useful{arm}": float(found[arm][1][:2].sum()) for arm in ("", "/control")},
        **{f"accuracy{arm}": value for arm, value in accuracy.items()},
    }


def pairs_of(world: Domains, at: int, count: int, generator: torch.Generator) -> Tensor:
    """Return [count, 2, D] pairs as one source labelled them."""
    source = world.domain(at)
    return source.judged(source.responses(count, generator), generator).features


def mixed(
    sources: Tensor, target: Tensor, seed: int, *, shuffled: bool = False
) -> tuple[Tensor, Tensor]:
    """Return the policy, and the weights of the sources at the end."""
    mixing = GradientMixing(len(sources), eta=ETA, decay=DECAY)
    generator = torch.Generator().manual_seed(3_000 + seed)
    state = {"step": 0}

    def weights(policy: Tensor) -> Tensor:
        state["step"] += 1
        if state["step"] % EVERY:
            return mixing.weights
        at = torch.randint(sources.shape[1], (PROBE,), generator=generator)
        some = target[torch.randint(len(target), (PROBE,), generator=generator)]
        found = alignment(
            torch.stack([gradient(policy, source[at]) for source in sources]),
            gradient(policy, some),
        )
        order = torch.randperm(len(found), generator=generator)
        return mixing.step(found[order] if shuffled else found)

    return trained(sources, seed, weights), mixing.weights


def trained(sources: Tensor, seed: int, weights: Change) -> Tensor:
    """Return the policy after batches drawn from sources [K, N, 2, D] by weights that may move."""
    generator = torch.Generator().manual_seed(2_000 + seed)
    count = sources.shape[1]

    def scores(policy: Tensor, _: Tensor) -> Scores:
        source = torch.multinomial(weights(policy.detach()), BATCH, True, generator=generator)
        row = torch.randint(count, (BATCH,), generator=generator)
        return scored(policy, sources[source, row])

    how: dict[str, Any] = {"steps": STEPS, "batch": BATCH, "rate": RATE}
    start = torch.zeros(sources.shape[-1], dtype=torch.float64)
    return descend(lambda seen: dpo(seen, beta=BETA), scores, start, BATCH, **how)


def gradient(policy: Tensor, pairs: Tensor) -> Tensor:
    """Return [D] the gradient of the mean loss of pairs [B, 2, D]."""
    at = policy.clone().requires_grad_()
    return torch.autograd.grad(dpo(scored(at, pairs), beta=BETA).mean(), at)[0]


def scored(policy: Tensor, pairs: Tensor) -> Scores:
    """Score pairs [B, 2, D]."""
    found = pairs @ policy
    return Scores(found, torch.ones_like(found), reference=torch.zeros_like(found))


ENTRY = Entry(
    name="dga",
    numbers=("#66",),
    source="Fan et al. 2024, arXiv:2410.02498 (DGA).",
    claim="Sources mixed by how their gradients agree with a small target set serve that target.",
    world=(
        "Eight sources of 200 pairs with 20 features: two share the target's taste, five stand at "
        "60 to 120 degrees, one has its labels turned around; 40 pairs of the target."
    ),
    worlds=("domains", "linear"),
    baseline=(
        "`dpo` on all sources mixed evenly. Beside it: the two good ones alone, which nobody "
        "knows, and the 40 pairs of the target alone."
    ),
    control="The same updates with the alignments dealt out to sources at random.",
    bounds=(
        Bound("gain", "accuracy on the target's clean pairs above even mixing", at_least=0.2),
        Bound("flipped", "weight of the source with wrong labels at the end", at_most=0.03),
    ),
    run=run,
)
