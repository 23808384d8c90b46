"""MODPO lands on the optimum of every weighted sum of two rewards, and the wrong sign on none.

World: one prompt, eight responses with two rewards drawn from N(0, 1); all pairs are judged by the
first reward, by Bradley-Terry, and the second is known as a number.
Truth: the optimum of t = w r + (1 - w) s is in proportion to ref(y) exp(t(y) / beta).
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from prefine.ledger.entry import Bound, Entry, Metrics
from prefine.ledger.worlds.tabular import Rows, Tabular, divergence, minimise
from prefine.objectives import dpo, modpo

BETA = 0.5
WEIGHTS = (0.1, 0.3, 0.5, 0.7, 0.9)
Fit = Callable[[float], Tensor]


def run(seed: int) -> Metrics:
    """Fit a front with each loss, and return how far its worst point is from the exact front."""
    world = Tabular.drawn(seed)
    other = replace(world, reward=Tabular.drawn(10_000 + seed).reward)
    told = with_rewards(world.every_pair(), other.reward)
    turned = with_rewards(world.every_pair(), -other.reward)

    def front(fit: Fit) -> float:
        return max(divergence(fit(weight), optimum(world, other, weight)) for weight in WEIGHTS)

    return {
        "divergence": front(lambda w: world.fit(partial(modpo, beta=BETA, weight=w), told)),
        "divergence/control": front(
            lambda w: world.fit(partial(modpo, beta=BETA, weight=w), turned)
        ),
        "divergence/baseline": front(lambda w: mixed(world, other, w)),
    }


def with_rewards(rows: Rows, reward: Tensor) -> Rows:
    """Tell the reward [X, N] of each response of some rows."""
    return replace(rows, fields={"utility": reward[rows.prompt[:, None], rows.response]})


def optimum(world: Tabular, other: Tabular, weight: float) -> Tensor:
    """Where a share of one reward and the rest of the other are best."""
    return world.optimum(BETA, weight * world.reward + (1 - weight) * other.reward)


def mixed(world: Tabular, other: Tabular, weight: float) -> Tensor:
    """Minimise a mean of two losses: `dpo` on the pairs of one reward and on those of the other."""
    shares = ((world, weight), (other, 1 - weight))
    parts = [(judge, judge.every_pair(), share) for judge, share in shares]

    def loss(logits: Tensor) -> Tensor:
        policy = logits.log_softmax(-1)
        losses = [
            share * (rows.weight * dpo(judge.scores(policy, rows), beta=BETA)).sum()
            for judge, rows, share in parts
        ]
        return torch.stack(losses).sum()

    return minimise(loss, world.reference).log_softmax(-1)


ENTRY = Entry(
    name="modpo",
    numbers=("#101",),
    source="Zhou et al. 2023, arXiv:2310.03708, equation 7.",
    claim="One loss on the pairs of one reward finds the optimum of any sum of it and others.",
    world="One prompt, eight responses, two rewards; pairs tell the first, numbers the second.",
    baseline="A mean of two `dpo` losses, one on the pairs of each reward, with the same weights.",
    control="The same loss with the other sign of the second reward.",
    bounds=(
        Bound("divergence", "KL to the exact optimum, worst of five weights, nats", at_most=1e-4),
    ),
    run=run,
)
