"""Far from the data, pushing away the worse and drawing from the policy each help; imitation stays.

World: 50 actions in a row; the reference is a bump around action 15, and reward a bump around
action 35, of which the reference earns next to nothing. 20 rounds of 75 pairs, judged sharply.
Truth: the expected reward of every policy.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from prefine.ledger.descend import descend
from prefine.ledger.entry import Bound, Entry, Metrics
from prefine.ledger.worlds.tabular import Rows, Tabular, divergence
from prefine.objectives import dpo, sft
from prefine.objectives.combine import on_chosen
from prefine.scores import Scores

ACTIONS, BASE, PEAK, WIDTH, SHARP = 50, 15.0, 35.0, 5.0, 50.0
ROUNDS, LABELS, STEPS, RATE, BETA = 20, 75, 20, 0.05, 0.05


def run(seed: int) -> Metrics:
    """Train with and without the rejected response, on and off the policy."""
    world = bumps()
    contrast, imitate = partial(dpo, beta=BETA), on_chosen(sft)
    found = {
        (name, own): trained(world, loss, seed, own=own)
        for name, loss in (("both", contrast), ("winners", imitate))
        for own in (False, True)
    }
    base = world.gold(world.reference)
    times = {arm: world.gold(policy) / base for arm, policy in found.items()}
    return {
        "with rejected": times["both", False],
        "with rejected/control": times["winners", False],
        "reward/baseline": base / SHARP,
        "on policy": times["winners", True],
        "on policy/control": times["winners", False],
        "with rejected, on policy": times["both", True],
        "kl/with rejected": divergence(found["both", False], world.reference),
        "kl/on policy": divergence(found["winners", True], world.reference),
        "kl/both": divergence(found["both", True], world.reference),
    }


def bumps() -> Tabular:
    """Return the actions: a reference in one place, the reward in another."""
    place = torch.arange(ACTIONS, dtype=torch.float64)[None]

    def bump(centre: float) -> Tensor:
        return -((place - centre) / WIDTH).square() / 2

    return Tabular(SHARP * bump(PEAK).exp(), bump(BASE).log_softmax(-1))


def trained(world: Tabular, loss: Callable[[Scores], Tensor], seed: int, *, own: bool) -> Tensor:
    """Return [1, N] log-probabilities after some rounds of fresh pairs.

    Args:
        world: The actions.
        loss: On pairs.
        seed: Of pairs and batches.
        own: Whether the policy draws the pairs, or the reference.
    """
    generator, logits = torch.Generator().manual_seed(seed), world.reference
    for number in range(ROUNDS):
        behaviour = logits.log_softmax(-1) if own else world.reference
        pairs = world.some_pairs(LABELS, generator, behaviour=behaviour)

        def scores(found: Tensor, at: Tensor, pairs: Rows = pairs) -> Scores:
            rows = pairs.take(at)
            return world.scores(found.log_softmax(-1), rows)

        logits = descend(
            loss, scores, logits, LABELS,
            steps=STEPS, batch=LABELS, rate=RATE, decay=False, seed=seed + number,
        )  # fmt: skip
    return logits.log_softmax(-1)


ENTRY = Entry(
    name="on_policy_negative",
    numbers=("#119",),
    source="Tajwar et al. 2024, arXiv:2404.14367, sections 4 and 5.",
    claim=(
        "Where reward lies far from the data, a negative gradient helps, and so does drawing from "
        "the policy; imitating winners of the data does not."
    ),
    world="50 actions; a reference around one of them, the reward around another far away.",
    baseline="The reference policy as it came.",
    control=(
        "Of the negative gradient: the same pairs with the winner alone. Of drawing from the "
        "policy: the same imitation of winners that the reference draws."
    ),
    bounds=(
        Bound(
            "with rejected",
            "reward of dpo on the data's pairs, times the reference's",
            at_least=3.0,
        ),
        Bound("on policy", "reward of imitating own winners, times the reference's", at_least=3.0),
    ),
    run=run,
)
