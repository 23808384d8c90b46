"""A strength that grows with the margin of a reward, on a short run and on a long one.

World: 40 prompts with eight responses; 800 pairs, of which those with a small gap of gold reward
are often labelled the wrong way round, and a reward that knows each gap but for some error.
Truth: the gold reward of a policy is a sum over all responses.
A larger strength raises the first gradients of clear pairs and lowers the log-ratio at which they
come to rest. So the claim is tested where it can be right, on a short run, and a long one stands
beside it.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from prefine.ledger.descend import descend
from prefine.ledger.entry import Bound, Entry, Metrics
from prefine.ledger.worlds.tabular import Rows, Tabular
from prefine.objectives import mm_dpo
from prefine.scores import Scores

PAIRS, SHORT, LONG, RATE, BETA, BOOST = 800, 10, 300, 0.02, 0.1, 2.0
UNCLEAR, FLIPS, ERROR = 0.7, 0.4, 0.3


def run(seed: int) -> Metrics:
    """Train with margins, with margins of other pairs, and with none; look twice."""
    generator = torch.Generator().manual_seed(seed)
    world = Tabular.drawn(seed, prompts=40)
    pairs = noisy_where_unclear(world, generator)
    gap = -world.reward[pairs.prompt[:, None], pairs.response].diff(dim=1).squeeze(1)
    lead = gap + ERROR * torch.randn(PAIRS, generator=generator, dtype=gap.dtype)
    others = lead[torch.randperm(PAIRS, generator=generator)]
    found: dict[str, float] = {}
    for steps, name in ((SHORT, "gain"), (LONG, "gain on a long run")):
        plain = gold(world, pairs, lead, 0.0, steps, seed)
        found[name] = gold(world, pairs, lead, BOOST, steps, seed) - plain
        found[f"{name}/control"] = gold(world, pairs, others, BOOST, steps, seed) - plain
        found[f"gold after {steps} steps/baseline"] = plain
    return found


def noisy_where_unclear(world: Tabular, generator: torch.Generator) -> Rows:
    """Pairs ordered by gold, but for a share of those that are close."""
    pairs = world.some_pairs(PAIRS, generator)
    gap = -world.reward[pairs.prompt[:, None], pairs.response].diff(dim=1).squeeze(1)
    slips = (gap.abs() < UNCLEAR) & (torch.rand(PAIRS, generator=generator) < FLIPS)
    wrong = (gap < 0) ^ slips
    both = torch.where(wrong[:, None], pairs.response.flip(1), pairs.response)
    return Rows(pairs.prompt, both, pairs.weight, {})


def gold(world: Tabular, pairs: Rows, lead: Tensor, boost: float, steps: int, seed: int) -> float:
    """Gold reward after some steps."""
    loss = partial(mm_dpo, beta=BETA, boost=boost, likelihood_weight=0.0)

    def scores(logits: Tensor, at: Tensor) -> Scores:
        rows = pairs.take(at)
        utility = torch.stack([lead[at], torch.zeros_like(lead[at])], 1)
        return world.scores(logits.log_softmax(-1), rows, utility=utility)

    how: dict[str, Any] = {"steps": steps, "batch": 200, "rate": RATE, "seed": seed}
    return world.gold(descend(loss, scores, world.reference, PAIRS, **how).log_softmax(-1))


ENTRY = Entry(
    name="mm_dpo",
    numbers=("#67",),
    source="MM-RLHF, arXiv:2502.10391.",
    claim="A strength that grows with a reward's margin gains more from the same pairs.",
    world="40 prompts, eight responses; 800 pairs, close ones labelled wrong in two of five cases.",
    baseline="The same loss with one strength for all pairs, which is `dpo`.",
    control="The margins of other pairs: as much strength, but not where it belongs.",
    bounds=(Bound("gain", "gold reward above dpo after 10 steps", at_least=0.001),),
    run=run,
)
