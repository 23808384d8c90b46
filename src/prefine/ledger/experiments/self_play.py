"""Playing against itself, a policy circles around the one that nobody can beat.

World: three responses that beat each other in a circle, by different odds; no reward explains that.
Truth: a policy is the best there is if no response beats it more often than not. By how much the
strongest response does so is exact.
"""

from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from prefine.ledger.entry import Bound, Entry, Metrics
from prefine.ledger.worlds.tabular import Rows, Tabular
from prefine.objectives import dpo, sppo

ROUNDS, STRENGTH = 60, 2.0


def circle(generator: torch.Generator) -> Tensor:
    """Return [1, 3, 3] probabilities that one response beats another, each beating the next."""
    odds = 0.5 + 1.5 * torch.rand(3, generator=generator, dtype=torch.float64)
    ahead = torch.diag(odds[:2], 1) + torch.diag(odds[2:], -2)
    return torch.sigmoid(ahead - ahead.T)[None]


def beaten(better: Tensor, policy: Tensor) -> float:
    """Return how much more often than not the strongest response beats a policy [1, N]."""
    return float((better[0] @ policy[0]).max() - 0.5)


def self_play(world: Tabular, better: Tensor, *, against_itself: bool) -> tuple[Tensor, Tensor]:
    """Return [1, N] probabilities: the mean over rounds, and the last round's."""
    policy, total = world.reference, torch.zeros_like(world.reference)
    one, other = torch.combinations(torch.arange(3)).T
    for _ in range(ROUNDS):
        wins = better[0] @ (policy if against_itself else world.reference)[0].exp()
        rows = Rows(
            torch.zeros_like(one), torch.stack([one, other], 1), torch.full((3,), 1 / 3).double(),
            {"utility": torch.stack([wins[one], wins[other]], 1)},
        )  # fmt: skip
        loss = partial(sppo, beta=1 / STRENGTH, graded=True)
        policy = replace(world, reference=policy).fit(loss, rows)
        total = total + policy.exp()
    return total / ROUNDS, policy.exp()


def iterated_dpo(world: Tabular, better: Tensor) -> tuple[Tensor, Tensor]:
    """Return the same for rounds of `dpo` on pairs that the policy itself writes."""
    policy, total = world.reference, torch.zeros_like(world.reference)
    for _ in range(ROUNDS):
        rows = world.every_pair(better)
        weight = rows.weight * policy[0].exp()[rows.response].prod(1)
        rows = replace(rows, weight=weight / weight.sum())
        policy = replace(world, reference=policy).fit(partial(dpo, beta=1 / STRENGTH), rows)
        total = total + policy.exp()
    return total / ROUNDS, policy.exp()


def run(seed: int) -> Metrics:
    """Play with each loss; return how far the mean of the rounds is beaten, and the last."""
    generator = torch.Generator().manual_seed(1_000 + seed)
    better, world = circle(generator), Tabular.drawn(seed, responses=3)
    arms = {
        "": self_play(world, better, against_itself=True),
        "/control": self_play(world, better, against_itself=False),
        "/baseline": iterated_dpo(world, better),
    }
    return {
        **{f"beaten{arm}": beaten(better, mean) for arm, (mean, _) in arms.items()},
        **{f"last round{arm}": beaten(better, last) for arm, (_, last) in arms.items()},
        "beaten/reference": beaten(better, world.reference.exp()),
    }


ENTRY = Entry(
    name="sppo",
    source="Wu et al. 2024, arXiv:2405.00675, equation 4.6 and theorem 4.1.",
    claim="Rounds against itself come near the policy that no response beats, in their mean.",
    world="One prompt, three responses that beat each other in a circle by different odds.",
    baseline="As many rounds of `dpo` of the same strength, each on what the policy writes.",
    control="The same rounds with win rates against the first policy in place of its own.",
    bounds=(
        Bound("beaten", "how far the strongest response beats the mean", at_most=0.05),
    ),
    run=run,
)  # fmt: skip
