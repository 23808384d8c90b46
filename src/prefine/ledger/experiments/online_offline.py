"""Pairs from the policy itself make a better writer and a worse judge than pairs of a data set.

World: eight prompts with 60 responses; 3,200 labels by Bradley-Terry in all, for `dpo` with a beta
of 0.3. In a loop they come in 20 rounds of 160, and each round goes on from the last; offline they
are there from the start, for as many steps. Policies are drawn back towards the reference until all
are as far from it as the nearest.
Truth: gold reward and KL of every policy, and the order of any two responses.
"""

from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from prefine.ledger.descend import descend
from prefine.ledger.entry import Bound, Entry, Metrics
from prefine.ledger.worlds.tabular import Rows, Tabular, divergence
from prefine.objectives import dpo
from prefine.scores import Scores

PROMPTS, RESPONSES, ROUNDS, LABELS, BETA = 8, 60, 20, 160, 0.3
STEPS, RATE, BATCH = 30, 0.1, 160


@dataclass
class Arm:
    """A policy on its way.

    Attributes:
        world: The responses.
        logits: [X, N].
        seen: Pairs that it has been given.
    """

    world: Tabular
    logits: Tensor
    seen: list[Rows] = field(default_factory=list[Rows])

    def train(self, seed: int) -> None:
        """Take some steps over all that was seen."""
        prompt = torch.cat([rows.prompt for rows in self.seen])
        response = torch.cat([rows.response for rows in self.seen])

        def scores(logits: Tensor, at: Tensor) -> Scores:
            even = torch.full((len(at),), 1 / len(at), dtype=logits.dtype)
            rows = Rows(prompt[at], response[at], even, {})
            return self.world.scores(logits.log_softmax(-1), rows)

        self.logits = descend(
            partial(dpo, beta=BETA), scores, self.logits, len(response),
            steps=STEPS, batch=BATCH, rate=RATE, decay=False, seed=seed,
        )  # fmt: skip

    def part(self, share: float) -> Tensor:
        """Return [X, N] log-probabilities of a part of the way from the reference to here."""
        return (self.world.reference.lerp(self.logits, share)).log_softmax(-1)

    def kl(self, share: float = 1.0) -> float:
        """Return KL(policy || reference) of a part of the way, nats."""
        return divergence(self.part(share), self.world.reference)

    def gold_at(self, kl: float) -> float:
        """Return the gold reward of the part of the way that is so far from the reference."""
        low, high = 0.0, 1.0
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (middle, high) if self.kl(middle) < kl else (low, middle)
        return self.world.gold(self.part(high))

    def accuracy(self) -> float:
        """Return the share of all pairs that the implicit reward orders as gold does."""
        implicit = self.logits.log_softmax(-1) - self.world.reference
        apart = [one[:, :, None] - one[:, None, :] for one in (implicit, self.world.reward)]
        right = (apart[0] * apart[1] > 0).double()
        return float(right.sum() / (right.numel() - right[..., 0].numel()))


def run(seed: int) -> Metrics:
    """Train on streams of pairs, and compare each with the data set."""
    world = Tabular.drawn(seed, prompts=PROMPTS, responses=RESPONSES)
    online, loop = in_rounds(world, seed, own=True), in_rounds(world, seed, own=False)
    offline, replayed = at_once(world, loop.seen, seed), at_once(world, online.seen, seed)
    budget = min(arm.kl() for arm in (online, loop, offline, replayed))
    arms = {"": online, "/control": loop, "/replayed": replayed}
    measures = {"kl": budget, "gold/offline": offline.gold_at(budget)}
    for name, arm in arms.items():
        measures[f"gold gained{name}"] = arm.gold_at(budget) - offline.gold_at(budget)
        measures[f"accuracy lost{name}"] = offline.accuracy() - arm.accuracy()
    return measures


def in_rounds(world: Tabular, seed: int, *, own: bool) -> Arm:
    """Train on ever more pairs.

    Args:
        world: The responses.
        seed: Of pairs and batches.
        own: Whether the policy draws each round's pairs, or the reference.
    """
    generator, arm = torch.Generator().manual_seed(seed), Arm(world, world.reference)
    for number in range(ROUNDS):
        behaviour = arm.logits.log_softmax(-1) if own else world.reference
        arm.seen.append(world.some_pairs(LABELS, generator, behaviour=behaviour))
        arm.train(seed + number)
    return arm


def at_once(world: Tabular, seen: list[Rows], seed: int) -> Arm:
    """Train on all pairs from the first step on, as long as the rounds take."""
    arm = Arm(world, world.reference, list(seen))
    for number in range(ROUNDS):
        arm.train(seed + number)
    return arm


ENTRY = Entry(
    name="online_offline",
    numbers=("#60",),
    source="Tang et al. 2024, arXiv:2405.08448, sections 4 and 5.",
    claim=(
        "At the same KL, pairs that the policy draws give more gold reward than a data set, and "
        "a worse judge of pairs."
    ),
    world="Eight prompts, 60 responses, 3,200 labels by Bradley-Terry for each arm.",
    baseline="Offline `dpo` on as many labels of the reference's pairs, for as many steps.",
    control="The same rounds with pairs that the reference draws.",
    bounds=(
        Bound("gold gained", "gold reward above offline, at the same KL", at_least=0.2),
        Bound("accuracy lost", "accuracy on random pairs below offline", at_least=0.05),
    ),
    run=run,
)
