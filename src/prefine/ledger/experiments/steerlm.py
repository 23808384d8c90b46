"""Matching a policy to what a grader asks for, from samples that somebody else drew.

World: one prompt with twelve responses; a base policy P(y), a grader's probability P(a|y) that a
response has the wanted attributes, and another policy Q'(y) that the samples come from.
Truth: the wanted policy is in proportion to P(a|y) P(y).
Groups of eight samples weigh by softmax(log P(a|y) + log P(y) - log Q'(y)), less the policy's own
weights softmax(log Q(y) - log Q'(y)), which have no gradient. That gradient is the one of
`info_nca` with beta 1 and temperature 1, where Q' is the reference and the utility is
log P(a|y) + log P(y) - log Q'(y): so that is what runs here.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from prefine.ledger.descend import descend
from prefine.ledger.entry import Bound, Entry, Metrics
from prefine.ledger.worlds.tabular import divergence
from prefine.objectives import info_nca
from prefine.scores import Scores

RESPONSES, SAMPLES, GROUPS, WORLDS = 12, 8, 20_000, 4
STEPS, BATCH, RATE = 500, 64, 0.05


def run(seed: int) -> Metrics:
    """Fit with and without the policy's own weights, in several worlds."""
    found = [one_world(WORLDS * seed + n) for n in range(WORLDS)]
    return {name: sum(each[name] for each in found) / WORLDS for name in found[0]}


def one_world(seed: int) -> dict[str, float]:
    """Draw base, grader and source; return how far each policy is from the wanted one."""
    generator = torch.Generator().manual_seed(seed)
    base, grader, source = torch.randn(
        3, 1, RESPONSES, generator=generator, dtype=torch.float64
    ).log_softmax(-1)
    truth, utility = (base + grader).log_softmax(-1), (grader + base - source)[0]
    drawn = torch.multinomial(
        source[0].exp().expand(GROUPS, -1), SAMPLES, replacement=True, generator=generator
    )

    def scores(logits: Tensor, rows: Tensor) -> Scores:
        at, policy = drawn[rows], logits.log_softmax(-1)[0]
        return Scores(
            policy[at], torch.ones_like(policy[at]), reference=source[0][at], utility=utility[at]
        )

    def fitted(loss: Callable[[Scores], Tensor]) -> Tensor:
        how: dict[str, Any] = {"steps": STEPS, "batch": BATCH, "rate": RATE, "seed": seed}
        return descend(loss, scores, source, GROUPS, **how).log_softmax(-1)

    matched = fitted(partial(info_nca, beta=1.0, temperature=1.0))
    return {
        "divergence": divergence(truth, matched),
        "divergence/control": divergence(truth, fitted(weighted_imitation)),
        "divergence/baseline": divergence(truth, source),
    }


def weighted_imitation(scores: Scores) -> Tensor:
    """Imitate each group in proportion to its weights: no weights of the policy's own."""
    assert scores.utility is not None
    return -(scores.utility.softmax(1) * scores.policy).sum(1)


ENTRY = Entry(
    name="steerlm",
    numbers=("#20",),
    source="HelpSteer2, arXiv:2406.08673, section 4.2: SteerLM 2.0.",
    claim="Weights less the policy's own ones find the wanted policy from another one's samples.",
    world="Twelve responses; base, grader and sampling policy drawn at random; groups of eight.",
    baseline="The policy that drew the samples.",
    control="The same weights without the policy's own: weighted imitation.",
    bounds=(Bound("divergence", "KL from the wanted policy to the one found, nats", at_most=0.02),),
    run=run,
)
