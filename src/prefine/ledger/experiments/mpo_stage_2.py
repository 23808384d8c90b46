"""RL goes further in a few steps if it starts at the DPO policy and keeps to it.

World: 20 prompts with 30 responses and a gold reward, which splits 1,000 labelled pairs (a fifth of
the labels turned around) into easy and hard ones. `dpo` learns the easy ones; then REINFORCE draws
four responses a step to each prompt that has a hard pair, under a KL penalty to a reference. Each
arm takes the best of one grid of rates and penalties; a policy that has gone further from the SFT
policy than a budget is drawn back to it.
Truth: gold reward and KL of every policy.
"""

from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from prefine.estimators import leave_one_out, reinforce
from prefine.evaluation import split_by_margin
from prefine.ledger.descend import descend
from prefine.ledger.entry import Bound, Entry, Metrics
from prefine.ledger.worlds.tabular import Rows, Tabular, divergence
from prefine.objectives import dpo
from prefine.scores import Scores

PROMPTS, RESPONSES, PAIRS, FLIPS = 20, 30, 1_000, 0.2
DPO_BETA, DPO_STEPS, DPO_RATE, DPO_BATCH = 0.1, 100, 0.02, 64
STEPS, SAMPLES, BUDGET = 15, 4, 0.6
RATES, PENALTIES = (0.1, 0.2, 0.4), (0.05, 0.2, 0.8)


def run(seed: int) -> Metrics:
    """Split pairs by gold, learn the easy ones, and go on with RL from there or from the start."""
    generator = torch.Generator().manual_seed(1_000 + seed)
    world = Tabular.drawn(seed, prompts=PROMPTS, responses=RESPONSES)
    pairs = world.some_pairs(PAIRS, generator, flips=FLIPS)
    reward = world.reward[pairs.prompt[:, None], pairs.response]
    split = split_by_margin(-reward.diff(dim=1).squeeze(1).numpy())
    easy, hard = (torch.from_numpy(part).nonzero().squeeze(1) for part in (split.easy, split.hard))
    sft, learnt = world.reference, stage_1(world, pairs.take(easy), seed)
    coin = torch.rand(len(easy), 1, generator=generator) < 0.5
    tossed = replace(pairs.take(easy), response=either(pairs.response[easy], coin))
    lost = stage_1(world, tossed, seed)
    starts = {"": (learnt, learnt), "/control": (learnt, sft), "/baseline": (sft, sft),
              "/coin": (lost, lost)}  # fmt: skip
    asked, gold = pairs.prompt[hard].unique(), {"/stage 1": gold_within(world, learnt)}
    for arm, (start, reference) in starts.items():
        gold[arm] = max(
            gold_within(world, stage_2(world, asked, start, reference, rate, penalty, seed))
            for rate in RATES
            for penalty in PENALTIES
        )
    gained = {f"gold gained{arm}": value - gold["/baseline"] for arm, value in gold.items()}
    gained.pop("gold gained/baseline")
    return {**gained, **{f"gold{arm}": value for arm, value in gold.items()}}


def either(response: Tensor, turned: Tensor) -> Tensor:
    """Return pairs [B, 2], some of them turned around [B, 1]."""
    return torch.where(turned, response.flip(1), response)


def stage_1(world: Tabular, pairs: Rows, seed: int) -> Tensor:
    """Return [X, N] log-probabilities that `dpo` learns from pairs."""

    def scores(logits: Tensor, at: Tensor) -> Scores:
        return world.scores(logits.log_softmax(-1), pairs.take(at))

    found = descend(
        partial(dpo, beta=DPO_BETA), scores, world.reference, len(pairs),
        steps=DPO_STEPS, batch=DPO_BATCH, rate=DPO_RATE, seed=seed,
    )  # fmt: skip
    return found.log_softmax(-1)


def stage_2(
    world: Tabular, asked: Tensor, start: Tensor, reference: Tensor,
    rate: float, penalty: float, seed: int,
) -> Tensor:  # fmt: skip
    """Return [X, N] log-probabilities after RL with a KL penalty.

    Args:
        world: The gold reward.
        asked: [P] prompts that are drawn for.
        start: [X, N] log-probabilities to begin from.
        reference: [X, N] log-probabilities that the penalty keeps to.
        rate: Learning rate.
        penalty: Of each nat from the reference.
        seed: Of the samples.
    """
    generator = torch.Generator().manual_seed(seed)

    def scores(logits: Tensor, at: Tensor) -> Scores:
        policy = logits.log_softmax(-1)[asked[at]]
        drawn = torch.multinomial(
            policy.detach().exp(), SAMPLES, replacement=True, generator=generator
        )
        log_prob = policy.gather(1, drawn)
        away = log_prob.detach() - reference[asked[at]].gather(1, drawn)
        reward = world.reward[asked[at]].gather(1, drawn) - penalty * away
        return Scores(log_prob, torch.ones_like(log_prob), utility=reward)

    found = descend(
        drawn_loss, scores, start, len(asked), steps=STEPS, batch=len(asked), rate=rate, seed=seed
    )
    return found.log_softmax(-1)


def drawn_loss(scores: Scores) -> Tensor:
    """Return [B] the REINFORCE terms of samples [B, K], each held against the others."""
    assert scores.utility is not None
    return reinforce(scores.policy, leave_one_out(scores.utility)).mean(1)


def gold_within(world: Tabular, policy: Tensor) -> float:
    """Return the gold reward of a policy, drawn back to the budget if it is beyond."""

    def part(share: float) -> Tensor:
        return world.reference.lerp(policy, share).log_softmax(-1)

    low, high = 0.0, 1.0
    if divergence(policy, world.reference) > BUDGET:
        for _ in range(40):
            middle = (low + high) / 2
            near = divergence(part(middle), world.reference) < BUDGET
            low, high = (middle, high) if near else (low, middle)
    return world.gold(part(high))


ENTRY = Entry(
    name="mpo_stage_2",
    numbers=("#52",),
    source="Wang et al. 2024, arXiv:2403.19443, section 3; a bandit in place of their tasks.",
    claim=(
        "In as many steps, and within as many nats of the SFT policy, RL finds more gold reward if "
        "the DPO policy is its start and its reference."
    ),
    world=(
        "20 prompts, 30 responses, gold rewards; 15 steps of REINFORCE with four samples a prompt, "
        "after `dpo` on the easy ones of 1,000 pairs; at most 0.6 nats from the SFT policy."
    ),
    worlds=("tabular",),
    baseline="The same RL with the SFT policy as start and reference.",
    control=(
        "The DPO policy as start and the SFT policy as reference. Beside it a DPO policy whose "
        "labels are the toss of a coin."
    ),
    grid={"rate": RATES, "penalty": PENALTIES},
    bounds=(Bound("gold gained", "gold reward above RL from the SFT policy", at_least=0.05),),
    run=run,
    tried=(
        "On seeds from 100: rates from 0.05 to 0.4, penalties of 0.05 to 0.8, budgets of 0.3, 0.6 "
        "and 1 nat, and 15 to 200 steps. The start is what helps, and less the longer RL lasts: "
        "after 40 steps nothing is left of it. At the same distance from the SFT policy, the DPO "
        "policy as reference is no better than the SFT policy; it only lets the same penalty go "
        "further."
    ),
)
