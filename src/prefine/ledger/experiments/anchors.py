"""Which way the chosen response should go depends on whether the policy writes better or worse.

World: 40 prompts with 32 responses that share 12 features; 600 pairs whose responses another
writer drew, and people's verdicts. One writer leans to the people's taste by half of what they do
themselves and so is better than the policy; one leans as far away from it and is worse.
Truth: gold rewards and probabilities are exact.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from prefine.ledger.entry import Bound, Entry, Metrics
from prefine.ledger.worlds.crowd import Crowd
from prefine.objectives import apo_down, apo_zero, dpo
from prefine.scores import Scores

PAIRS, STEPS, RATE, BETA, LEAN = 600, 200, 0.03, 1.0, 0.5
OPTIMISTIC = 0.1


def learnt(seed: int, lean: float, losses: dict[str, Callable[[Scores], Tensor]]) -> Metrics:
    """Fit losses to pairs of a writer; return what the chosen gained, and the gain of reward."""
    generator = torch.Generator().manual_seed(1_000 + seed)
    world = Crowd.drawn(seed)
    pairs = world.table.some_pairs(PAIRS, generator, behaviour=world.policy(lean * world.taste))
    start, found = world.table.gold(world.table.reference), dict[str, float]()
    for arm, loss in losses.items():
        policy = world.fit(loss, pairs, steps=STEPS, rate=RATE, seed=seed)
        found[f"gain{arm}"] = world.table.gold(policy) - start
        found[f"chosen{arm}"] = float(world.moved(policy, pairs)[:, 0].mean())
    return found


up, down = partial(apo_zero, beta=BETA), partial(apo_down, beta=BETA)
BASELINES = {"/baseline": partial(dpo, beta=BETA), "/loose dpo": partial(dpo, beta=OPTIMISTIC)}


def run_zero(seed: int) -> Metrics:
    """Learn from a writer who is better than the policy."""
    return learnt(seed, LEAN, {"": up, "/control": down, **BASELINES})


def run_down(seed: int) -> Metrics:
    """Learn from a writer who is worse."""
    return learnt(seed, -LEAN, {"": down, "/control": up, **BASELINES})


WORLD = "40 prompts with 32 responses that share 12 features; 600 pairs by a {} writer than it is."
SOURCE = "D'Oosterlinck et al. 2024, arXiv:2408.06266, section 3."
BASELINE = "`dpo` with the same beta of 1; beside it with 0.1, as it is often used."

ENTRIES = (
    Entry(
        name="apo_zero",
        source=SOURCE,
        claim="Where responses are better than the policy's, the chosen should become more likely.",
        world=WORLD.format("better"),
        worlds=("crowd", "tabular"),
        baseline=BASELINE,
        control="The other anchor, `apo_down`: the chosen become less likely, too.",
        bounds=(
            Bound("gain", "expected reward gained on the reference", at_least=2.5),
            Bound("chosen", "nats that the chosen response gained", at_least=0.0),
        ),
        run=run_zero,
    ),
    Entry(
        name="apo_down",
        source=SOURCE,
        claim="Where responses are worse than the policy's, the chosen should fall as well.",
        world=WORLD.format("worse"),
        worlds=("crowd", "tabular"),
        baseline=BASELINE,
        control="The other anchor, `apo_zero`: the chosen are to become more likely.",
        bounds=(Bound("gain", "expected reward gained on the reference", at_least=3.0),),
        run=run_down,
    ),
)
