"""Losses that need no reference: what they add to imitation, and to each other.

World: 40 prompts with 32 responses that share 12 features; 600 pairs as people judge.
Truth: all probabilities are exact, so what either response of a pair gained is no estimate.
"""

from functools import partial

import torch
from torch import Tensor

from prefine.ledger.entry import Bound, Entry, Metrics
from prefine.ledger.worlds.crowd import Crowd
from prefine.objectives import alphapo, dpo, orpo, simpo

PAIRS, STEPS, RATE, STYLE = 600, 200, 0.03, 3.0
ODDS = 1.0
BETA, GAMMA_OVER_BETA, BEND, STRAIGHT = 2.5, 0.1, 0.25, 1e-3
LONG, SLOW, LEAD = 300, 0.02, 1.5


def run_orpo(seed: int) -> Metrics:
    """Learn from a writer with a style of its own, which imitation learns from both responses."""
    generator = torch.Generator().manual_seed(1_000 + seed)
    world = Crowd.drawn(seed)
    direction = torch.randn(len(world.taste), generator=generator, dtype=world.taste.dtype)
    writer = world.policy(STYLE * direction / direction.norm())
    pairs = world.table.some_pairs(PAIRS, generator, behaviour=writer)
    arms = {
        "": partial(orpo, odds_weight=ODDS),
        "/control": partial(orpo, odds_weight=0.0),
        "/baseline": partial(dpo, beta=0.1),
    }
    found: dict[str, float] = {}
    for arm, loss in arms.items():
        policy = world.fit(loss, pairs, steps=STEPS, rate=RATE, seed=seed)
        chosen, rejected = world.moved(policy, pairs).mean(0).tolist()
        found |= {f"rejected{arm}": rejected, f"chosen{arm}": chosen}
        found[f"gold{arm}"] = world.table.gold(policy)
    return found


def run_alphapo(seed: int) -> Metrics:
    """Follow each loss until the chosen lead by as much, and see what they lost on the way."""
    generator = torch.Generator().manual_seed(1_000 + seed)
    world = Crowd.drawn(seed)
    pairs = world.table.some_pairs(PAIRS, generator)
    same = {"beta": BETA, "gamma_over_beta": GAMMA_OVER_BETA}
    arms = {
        "": partial(alphapo, alpha=BEND, **same),
        "/control": partial(alphapo, alpha=STRAIGHT, **same),
        "/baseline": partial(simpo, **same),
    }
    at_lead: dict[str, float] = {}
    at_end: dict[str, float] = {}
    for arm, loss in arms.items():
        path: list[Tensor] = []

        def follow(_: int, weights: Tensor, path: list[Tensor] = path) -> None:
            path.append(world.moved(world.policy(weights), pairs).mean(0))

        world.fit(loss, pairs, steps=LONG, rate=SLOW, seed=seed, on_step=follow)
        chosen, rejected = torch.stack(path).unbind(1)
        at_lead[arm] = where_it_leads(chosen, chosen - rejected)
        at_end[arm] = float(chosen[-1])
    straight = at_lead["/baseline"]
    return {
        **{f"spared{arm}": at_lead[arm] - straight for arm in ("", "/control")},
        **{f"chosen at the end{arm}": value for arm, value in at_end.items()},
    }


def where_it_leads(chosen: Tensor, lead: Tensor) -> float:
    """Return what the chosen gained when the lead first passed `LEAD`, between two steps."""
    after = int((lead >= LEAD).double().argmax())
    share = (LEAD - lead[after - 1]) / (lead[after] - lead[after - 1])
    return float(chosen[after - 1] + share * (chosen[after] - chosen[after - 1]))


ENTRIES = (
    Entry(
        name="orpo",
        source="Hong et al. 2024, arXiv:2403.07691, equations 6 and 7, and figure 3.",
        claim="Imitation makes rejected responses likelier too; the odds ratio holds them down.",
        world="40 prompts with 32 responses; 600 pairs by a writer with a style of its own.",
        worlds=("crowd", "tabular"),
        baseline="`dpo` with its usual beta of 0.1.",
        control="The same loss without the odds ratio, which is imitation of the chosen.",
        bounds=(
            Bound("rejected", "nats that the rejected response gained", at_most=0.0),
            Bound("chosen", "nats that the chosen one gained", at_least=0.0, control=False),
        ),
        run=run_orpo,
    ),
    Entry(
        name="alphapo",
        source="Gupta et al. 2025, arXiv:2501.03884, section 3.",
        claim="A reward that bends costs the chosen response less likelihood for the same lead.",
        world="40 prompts with 32 responses that share 12 features; 600 pairs as people judge.",
        worlds=("crowd", "tabular"),
        baseline="`simpo` with the same beta and margin, from whose loss all are measured.",
        control="The same loss with next to no bend.",
        bounds=(
            Bound("spared", "nats of the chosen response kept, at a lead of 1.5", at_least=0.05),
        ),
        run=run_alphapo,
        tried=(
            "Bends of 0.05 to 1, leads of 1 to 2.5 nats, and 100 features in place of 12. After "
            "as many steps the chosen response has lost less than under `simpo`, but the "
            "rejected one too: it has gone less far on the same way."
        ),
    ),
)
