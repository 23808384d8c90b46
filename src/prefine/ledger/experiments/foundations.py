"""What all else is built on: imitation finds shares, and comparisons find rewards.

World: one prompt, eight responses of 5 to 40 tokens; every response as often as people write it,
and every pair as often as people judge it so.
Truth: the shares in which people write, and the rewards behind their verdicts.
"""

from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from prefine.ledger.entry import Bound, Entry, Metrics
from prefine.ledger.worlds.tabular import Rows, Tabular, total_variation
from prefine.objectives import bradley_terry, sft
from prefine.objectives.links import gap
from prefine.scores import Scores

PEOPLE = 0.5


def run_sft(seed: int) -> Metrics:
    """Imitate people who write by a policy of their own, each token counted once."""
    drawn = Tabular.drawn(seed)
    generator = torch.Generator().manual_seed(1_000 + seed)
    length = torch.randint(5, 41, drawn.reward.shape, generator=generator).double()
    world = replace(drawn, length=length)
    people = world.optimum(PEOPLE)
    every = torch.arange(people.shape[1])[:, None]
    share, length = people[0].exp(), length[0]

    def imitated(weight: Tensor) -> Tensor:
        rows = Rows(torch.zeros_like(every[:, 0]), every, weight / weight.sum(), {})
        return world.fit(sft, rows)

    return {
        "distance": total_variation(imitated(share * length), people),
        "distance/control": total_variation(imitated(share), people),
        "distance/baseline": total_variation(world.reference, people),
    }


def run_bradley_terry(seed: int) -> Metrics:
    """Fit rewards to how often each response wins."""
    world = Tabular.drawn(seed)
    rows, wins = world.every_pair(), world.better()[0]
    count = wins.shape[0]
    won = (wins.sum(1) - 0.5) / (count - 1)
    found = {
        "": world.fit(partial(bradley_terry), rows),
        "/control": world.fit(squared, rows),
        "/baseline": won.logit()[None],
    }
    return {f"error{arm}": largest_error(world.reward, reward) for arm, reward in found.items()}


def squared(scores: Scores) -> Tensor:
    """Return the squared distance of a difference of rewards from a verdict of 1."""
    return (gap(scores.policy) - 1).square()


def largest_error(true: Tensor, found: Tensor) -> float:
    """Return the largest error of a reward, both taken from their means."""
    apart = (true - true.mean()) - (found - found.mean())
    return float(apart.abs().max())


ENTRIES = (
    Entry(
        name="sft",
        source="Maximum likelihood; as a stage of alignment: arXiv:2203.02155, section 3.",
        claim="Imitation with each token counted once writes each response as often as people do.",
        world="One prompt, eight responses of 5 to 40 tokens, each as often as people write it.",
        baseline="The reference policy as it came.",
        control="The same loss with each response counted once, whatever its length.",
        bounds=(Bound("distance", "total variation to people's shares", at_most=0.01),),
        run=run_sft,
    ),
    Entry(
        name="bradley_terry",
        source="Bradley and Terry 1952; as a reward model: arXiv:2203.02155, equation 1.",
        claim="The logistic loss on verdicts finds the rewards behind them, up to a constant.",
        world="One prompt, eight responses; all pairs, weighted by Bradley-Terry.",
        baseline="The log-odds of the share of comparisons that a response wins.",
        control="A square in place of the logistic loss.",
        bounds=(Bound("error", "largest error of a reward", at_most=0.01),),
        run=run_bradley_terry,
    ),
)
