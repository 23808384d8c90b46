"""Pairs that a policy judges itself teach the optimum, if it says how sure it is of each.

World: 50 prompts with six responses; a judge says with which probability it prefers one, and
favours what it is shown first by 0.5 of a logit. Each prompt's responses are ranked by the judge,
and neighbours and the first with all make the pairs.
Truth: the KL-regularised optimum of the reward behind the judge.
"""

from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from prefine.estimators import both_orders, ranked_pairs
from prefine.ledger.entry import Bound, Entry, Metrics
from prefine.ledger.worlds.tabular import Rows, Tabular, total_variation
from prefine.objectives import dpo

BETA, FIRST = 0.5, 0.5
PROMPTS, RESPONSES = 50, 6


def run(seed: int) -> Metrics:
    """Fit `dpo` to pairs of one judge, with three ways of reading its judgments."""
    world = Tabular.drawn(seed, prompts=PROMPTS, responses=RESPONSES)
    gap = world.reward[:, :, None] - world.reward[:, None, :]
    shown_first = torch.sigmoid(gap + FIRST)
    once = shown_first.triu(1) + (1 - shown_first.mT).tril(-1) + torch.eye(RESPONSES) / 2
    soft = pairs_of(both_orders(shown_first))
    found = {
        "": soft,
        "/control": replace(soft, fields={}),
        "/baseline": pairs_of(once),
    }
    truth, loss = world.optimum(BETA), partial(dpo, beta=BETA)
    return {
        f"distance{arm}": total_variation(world.fit(loss, rows), truth)
        for arm, rows in found.items()
    }


def pairs_of(better: Tensor) -> Rows:
    """Return the pairs of every prompt, evenly weighted, with soft labels.

    Args:
        better: [X, N, N] probability that a judge prefers the first.
    """
    pairs, labels = zip(*(ranked_pairs(one) for one in better), strict=True)
    response, prob = torch.cat(pairs), torch.cat(labels)
    prompt = torch.arange(len(better)).repeat_interleave(len(pairs[0]))
    return Rows(prompt, response, torch.full_like(prob, 1 / len(prob)), {"prob": prob})


ENTRY = Entry(
    name="osp",
    numbers=("#21",),
    source="OSP, arXiv:2405.14103, section 3; which ranks are paired is ours.",
    claim="Soft labels of its own judgments tell a policy how far to go; hard ones know no end.",
    world="50 prompts, six responses; a judge with a taste for what it is shown first.",
    baseline="The same soft labels, each pair shown in one order.",
    control="The same pairs without their strength: every judgment is taken for certain.",
    bounds=(Bound("distance", "total variation to the exact optimum", at_most=0.05),),
    run=run,
)
