"""DPO lands on the KL-regularised optimum, and cloning the winners does not.

World: one prompt, eight responses with rewards drawn from N(0, 1), every ordered pair weighted by
Bradley-Terry; the loss is the exact population loss, so there is no sampling noise.
Truth: the optimum is in proportion to ref(y) exp(r(y) / beta).
"""

from functools import partial

import torch
from torch import Tensor

from prefine.ledger.entry import Bound, Entry, Metrics
from prefine.ledger.worlds.tabular import Tabular, total_variation
from prefine.objectives import dpo, sft

BETA = 0.5


def run(seed: int) -> Metrics:
    """Fit both losses to the same pairs."""
    world = Tabular.drawn(seed)
    truth, pairs = world.optimum(BETA), world.every_pair()
    aligned = world.fit(partial(dpo, beta=BETA), pairs)
    cloned = world.fit(lambda scores: sft(scores.take(first(len(pairs)))), pairs)
    return {
        "distance": total_variation(aligned, truth),
        "distance/control": total_variation(cloned, truth),
        "distance/baseline": total_variation(world.reference, truth),
    }


def first(count: int) -> Tensor:
    """Return the index of the first response of each of so many rows."""
    return torch.zeros(count, 1, dtype=torch.long)


ENTRY = Entry(
    name="dpo",
    source="Rafailov et al. 2023, arXiv:2305.18290, equations 4 and 7.",
    claim="The population DPO loss is least at the KL-regularised optimum of the true reward.",
    world="One prompt, eight responses with rewards N(0, 1); all pairs, weighted by Bradley-Terry.",
    baseline="The reference policy as it came.",
    control="The same pairs with the winner alone: its likelihood, no loser and no reference.",
    bounds=(Bound("distance", "total variation to the optimum", at_most=0.01),),
    run=run,
)
