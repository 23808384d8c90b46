"""Likelier chosen responses are no sign of quality; a narrower choice is a sign of decline.

World: one prompt, 100 responses, 3,000 pairs by Bradley-Terry; `dpo` runs until it all but repeats
one response, which has a fault that the people who judged could not see: gold is 4 lower there.
Truth: gold reward and all probabilities of every policy on the way.
"""

from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor

from prefine.evaluation import stop_at, top_k_entropy
from prefine.ledger.descend import descend
from prefine.ledger.entry import Bound, Entry, Metrics
from prefine.ledger.worlds.tabular import Rows, Tabular
from prefine.objectives import dpo, sft
from prefine.objectives.combine import on_chosen
from prefine.objectives.declare import Loss
from prefine.scores import Scores

RESPONSES, PAIRS, BETA, FAULT = 100, 3_000, 0.05, 4.0
STEPS, EVERY, BATCH, RATE, WINDOW = 1_000, 20, 256, 0.05, 5


@dataclass(frozen=True)
class Path:
    """A run, from evaluation to evaluation; the first is of the reference.

    Attributes:
        policy: [1, N] log-probabilities.
        chosen: Mean log-probability of the chosen responses, nats.
        margin: Mean lead over the rejected ones, nats.
    """

    policy: list[Tensor] = field(default_factory=list[Tensor])
    chosen: list[float] = field(default_factory=list[float])
    margin: list[float] = field(default_factory=list[float])

    @property
    def entropy(self) -> list[float]:
        """Part of the entropy that the ten likeliest responses hold, nats."""
        return [float(top_k_entropy(policy.numpy())[0]) for policy in self.policy]


def run(seed: int) -> Metrics:
    """Run `dpo` and imitation, correlate likelihood and gold, and stop by two signs."""
    generator = torch.Generator().manual_seed(seed)
    world = Tabular.drawn(seed, responses=RESPONSES)
    pairs = world.some_pairs(PAIRS, generator)
    path = along(partial(dpo, beta=BETA), world, pairs, seed)
    imitated = along(on_chosen(sft), world, pairs, seed)
    fault = FAULT * (path.policy[-1] == path.policy[-1].max()).double()
    spoiled = replace(world, reward=world.reward - fault)
    gold = [spoiled.gold(policy) for policy in path.policy]
    by_likelihood = stop_at([path.chosen], path.margin, window=WINDOW)
    by_entropy = stop_at([path.entropy], path.margin, window=WINDOW)
    return {
        "correlation": correlation([world.gold(policy) for policy in path.policy], path.chosen),
        "correlation/control": correlation(
            [world.gold(policy) for policy in imitated.policy], imitated.chosen
        ),
        "kept": kept(gold, by_entropy),
        "kept/control": kept(gold, by_likelihood),
        "kept/baseline": kept(gold, None),
        "stopped at step": float(EVERY * (len(gold) if by_entropy is None else by_entropy)),
    }


def along(loss: Loss, world: Tabular, pairs: Rows, seed: int) -> Path:
    """Train a free policy and look at it on the way."""
    path = Path()

    def scores(logits: Tensor, at: Tensor) -> Scores:
        rows = pairs.take(at)
        return world.scores(logits.log_softmax(-1), rows)

    def keep(step: int, logits: Tensor) -> None:
        if step % EVERY == 0:
            policy = logits.log_softmax(-1)
            both = world.scores(policy, pairs).policy.mean(0)
            path.policy.append(policy)
            path.chosen.append(float(both[0]))
            path.margin.append(float(both[0] - both[1]))

    keep(0, world.reference)
    descend(
        loss, scores, world.reference, PAIRS,
        steps=STEPS, batch=BATCH, rate=RATE, decay=False, seed=seed, on_step=keep,
    )  # fmt: skip
    return path


def correlation(one: list[float], other: list[float]) -> float:
    """Return the correlation of two series."""
    return float(torch.corrcoef(torch.tensor([one, other], dtype=torch.float64))[0, 1])


def kept(gold: list[float], at: int | None) -> float:
    """Return which share of the best gain is there at an evaluation, the last if it is None."""
    return (gold[-1 if at is None else at] - gold[0]) / (max(gold) - gold[0])


ENTRY = Entry(
    name="likelihood_overoptimisation",
    numbers=("#59",),
    source="Shi et al. 2024, arXiv:2410.11677, sections 4 and 5.",
    claim=(
        "Gold rises while chosen responses become less likely; falling entropy of the likeliest "
        "choices, not likelihood, tells when to stop."
    ),
    world="One prompt, 100 responses, 3,000 pairs; what the run ends at has a fault nobody saw.",
    baseline="The run's last policy.",
    control=(
        "Of the correlation: imitation of the chosen alone. Of the rule: the same rule told the "
        "likelihood of the chosen in place of the entropy."
    ),
    bounds=(
        Bound("correlation", "of gold and the likelihood of the chosen, along dpo", at_most=-0.5),
        Bound("kept", "share of the best gain that is there where the rule stops", at_least=0.7),
    ),
    run=run,
)
