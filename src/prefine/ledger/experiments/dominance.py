"""Sorting likes and dislikes is to lift the whole distribution, where couples lift the mean.

World: 600 liked and 600 disliked responses with ten features, not of the same prompts; what is
liked is higher in all of them, and what is disliked varies three times as much in half.
Truth: 4,000 further responses of either kind, as good as their distributions.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from prefine.ledger.descend import descend
from prefine.ledger.entry import Bound, Entry, Metrics
from prefine.objectives import aot, bco, dpo
from prefine.scores import Scores

Loss = Callable[[Scores], Tensor]
SIZE, ROWS, HELD_OUT, STEPS, BATCH, RATE = 10, 600, 4_000, 300, 200, 0.02
BETA, SPREAD = (0.1, 1.0), 3.0
PLACES = torch.arange(1, 20, dtype=torch.float64) / 20


def responses(shift: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Return [count, 2, D] features: a liked response, and a disliked one of another prompt."""
    normal = torch.randn(count, 2, SIZE, generator=generator, dtype=shift.dtype)
    spread = torch.where(torch.arange(SIZE) < SIZE // 2, 1.0, SPREAD)
    return torch.stack([shift / 2 + normal[:, 0], -shift / 2 + spread * normal[:, 1]], 1)


def least_lead(weights: Tensor, features: Tensor) -> float:
    """Return by how much likes lead at the place where they lead least, in common deviations."""
    reward = features @ weights
    liked, disliked = (reward[:, side].quantile(PLACES) for side in (0, 1))
    return float((liked - disliked).min() / (reward - reward.mean(0)).std())


def run(seed: int) -> Metrics:
    """Fit each loss with the best of two strengths; return the least lead of held-out likes."""
    generator = torch.Generator().manual_seed(1_000 + seed)
    shift = 0.2 + 0.8 * torch.rand(SIZE, generator=generator, dtype=torch.float64)
    seen, held_out = (responses(shift, count, generator) for count in (ROWS, HELD_OUT))

    def scores(weights: Tensor, at: Tensor) -> Scores:
        policy = seen[at] @ weights
        return Scores(policy, torch.ones_like(policy), reference=torch.zeros_like(policy))

    def best(make: Callable[..., Loss]) -> float:
        found = (
            descend(
                make(beta=beta), scores, torch.zeros_like(shift), ROWS,
                steps=STEPS, batch=BATCH, rate=RATE, seed=seed,
            )
            for beta in BETA
        )  # fmt: skip
        return max(least_lead(weights, held_out) for weights in found)

    lead = {
        "": best(partial(partial, aot, paired=False)),
        "/control": best(partial(partial, dpo)),
        "/baseline": best(lambda beta: as_thumbs(bco(beta=beta))),
    }
    return {
        **{f"gain{arm}": lead[arm] - lead["/baseline"] for arm in ("", "/control")},
        **{f"lead{arm}": value for arm, value in lead.items()},
    }


def as_thumbs(loss: Loss) -> Loss:
    """Return a loss on single responses that takes both of a row; its threshold stays at 0."""

    def both(scores: Scores) -> Tensor:
        count = len(scores.policy)
        flat = Scores(
            scores.policy.reshape(-1, 1), scores.length.reshape(-1, 1),
            reference=torch.zeros_like(scores.policy).reshape(-1, 1),
            label=torch.tensor([True, False]).repeat(count)[:, None],
        )  # fmt: skip
        return loss(flat).reshape(count, 2).sum(1)

    return both


ENTRY = Entry(
    name="aot",
    source="Melnyk et al. 2024, arXiv:2406.05882, section 3.",
    claim="Compared rank by rank, likes come to lead dislikes at every place, not on average.",
    world="600 likes and 600 dislikes with ten features; dislikes vary more in half of them.",
    worlds=(),
    baseline="A classifier of likes and dislikes (`bco` at a threshold of 0).",
    control="The same likes and dislikes coupled as they come, without sorting, which is `dpo`.",
    grid={"beta": BETA},
    bounds=(
        Bound("gain", "least lead of likes at any place, above a classifier's", at_least=0.02),
    ),
    run=run,
    tried=(
        "Paired and unpaired, with strengths of 0.1 and 1. Without a spread in the reference the "
        "paired form is `dpo` to the last digit; the unpaired form gives more weight to features "
        "in which dislikes vary, and likes lead by less where they lead least."
    ),
)  # fmt: skip
