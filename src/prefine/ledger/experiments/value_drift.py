"""Imitation sets what a policy stands for; pairs that agree on it hardly move it.

World: eleven topics; a response is a stance (support, neutral, oppose) in one of twenty styles. The
policy imitates a stance mix, then learns from pairs by DPO: pairs whose two responses share their
stance and differ in style, or pairs that differ in stance.
Truth: every probability of a stance is known, so drift is computed and not sampled.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from prefine.evaluation.drift import value_drift
from prefine.ledger.descend import descend
from prefine.ledger.entry import Bound, Entry, Metrics
from prefine.ledger.worlds.tabular import Rows, Tabular
from prefine.objectives import dpo
from prefine.scores import Scores

Loss = Callable[[Scores], Tensor]
TOPICS, STANCES, STYLES = 11, 3, 20
STEPS, BATCH, ROWS, CHECKPOINTS = 200, 64, 4_000, 20
IMITATION_RATE, ALIGNMENT_RATE, BETA = 0.05, 0.02, 0.1


def run(seed: int) -> Metrics:
    """Imitate, then align on either kind of pairs; trace the stances through both stages."""
    generator = torch.Generator().manual_seed(seed)
    kinds = STANCES * STYLES
    start = torch.randn(TOPICS, kinds, generator=generator, dtype=torch.float64).log_softmax(-1)
    mix = (2 * torch.randn(TOPICS, STANCES, generator=generator, dtype=torch.float64)).softmax(-1)
    wanted = (mix[:, :, None] / STYLES).expand(-1, -1, STYLES).reshape(TOPICS, kinds).log()
    shown = texts(wanted, generator)
    imitated, first = trace(imitation, shown, Tabular(wanted, start), start, IMITATION_RATE, seed)
    quality = torch.randn(TOPICS, kinds, generator=generator, dtype=torch.float64)
    found: dict[str, float] = {"imitation": drift(first)[0], "imitation_time": drift(first)[1]}
    for name, by_stance in (("pairs", False), ("pairs/control", True)):
        rows = pairs(imitated, quality, mix, generator, by_stance=by_stance)
        world = Tabular(quality, imitated)
        _, path = trace(partial(dpo, beta=BETA), rows, world, imitated, ALIGNMENT_RATE, seed)
        found[name] = drift(path)[0]
    return found


def imitation(scores: Scores) -> Tensor:
    """Negative log-likelihood of the first response."""
    return -scores.policy[:, 0]


def texts(policy: Tensor, generator: torch.Generator) -> Rows:
    """Responses as the wanted policy gives them."""
    topic = torch.randint(TOPICS, (ROWS,), generator=generator)
    drawn = torch.multinomial(policy.exp()[topic], 1, generator=generator)
    return Rows(topic, drawn, torch.full((ROWS,), 1 / ROWS, dtype=policy.dtype), {})


def pairs(
    policy: Tensor, quality: Tensor, mix: Tensor, generator: torch.Generator, *, by_stance: bool
) -> Rows:
    """Pairs that the policy drew: of one stance, the better style first, or of the rarer stance."""
    topic = torch.randint(TOPICS, (8 * ROWS,), generator=generator)
    both = torch.multinomial(policy.exp()[topic], 2, generator=generator)
    stance = both // STYLES
    same = stance[:, 0] == stance[:, 1]
    kept = (~same if by_stance else same).nonzero().squeeze(1)[:ROWS]
    topic, both, stance = topic[kept], both[kept], stance[kept]
    worth = -mix[topic[:, None], stance] if by_stance else quality[topic[:, None], both]
    both = torch.where((worth[:, 0] >= worth[:, 1])[:, None], both, both.flip(1))
    return Rows(topic, both, torch.full((len(topic),), 1 / len(topic), dtype=policy.dtype), {})


def trace(
    loss: Loss, rows: Rows, world: Tabular, start: Tensor, rate: float, seed: int
) -> tuple[Tensor, list[Tensor]]:
    """Train; return the policy and the stances [topics, stances] of every checkpoint."""
    path = [stances_of(start)]

    def scores(logits: Tensor, at: Tensor) -> Scores:
        part = rows.take(at)
        return world.scores(logits.log_softmax(-1), part)

    def look(step: int, logits: Tensor) -> None:
        if step % (STEPS // CHECKPOINTS) == 0:
            path.append(stances_of(logits.log_softmax(-1)))

    found = descend(
        loss, scores, start, len(rows), steps=STEPS, batch=BATCH, rate=rate, seed=seed,
        on_step=look,
    )  # fmt: skip
    return found.log_softmax(-1), path


def stances_of(policy: Tensor) -> Tensor:
    """[topics, stances] probabilities."""
    return policy.exp().view(TOPICS, STANCES, STYLES).sum(-1)


def drift(path: list[Tensor]) -> tuple[float, float]:
    """Mean distance over topics between first and last checkpoint; share of the run it took."""
    stances = torch.stack(path).numpy()
    by_topic = abs(stances[-1] - stances[0]).sum(-1) / 2
    whole = value_drift(stances, draws=10)
    return float(by_topic.mean()), 1.0 if whole.time is None else whole.time


ENTRY = Entry(
    name="value_drift",
    numbers=("#41",),
    source="Value Drifts, arXiv:2510.26707.",
    claim="Imitation sets stances early; preference pairs that share a stance hardly move them.",
    world="Eleven topics, three stances in twenty styles; imitation, then DPO on its own pairs.",
    worlds=("tabular",),
    baseline="How far imitation moved the stances before.",
    control="DPO on pairs that differ in stance: the rarer one is preferred.",
    bounds=(
        Bound("pairs", "total variation of stances by DPO on pairs of one stance", at_most=0.05),
        Bound("imitation", "total variation of stances by imitation", at_least=0.2, control=False),
    ),
    run=run,
)
