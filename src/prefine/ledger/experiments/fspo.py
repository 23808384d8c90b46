"""Few-shot preferences: from a few pairs of a person, a policy knows what this person prefers.

World: people are directions among four features, drawn evenly; each has ten pairs of responses,
ordered by the product with their direction. `Shots` picks four other pairs of the same person for
each pair. The policy maps each shot to a vector, takes the mean, and its log-ratio to the reference
is the product of that with the response: `ipo` trains it on 300 people.
Truth: which response each of 100 new people prefers, in pairs that no shot shows.
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from prefine.curation import Shots
from prefine.ledger.descend import descend
from prefine.ledger.entry import Bound, Entry, Metrics
from prefine.objectives import ipo
from prefine.records import (
    UNKNOWN_RATER,
    Candidate,
    Judgment,
    Message,
    Principal,
    Record,
    Source,
)
from prefine.scores import Scores

PEOPLE, NEW, PAIRS, SIZE, WIDTH = 300, 100, 10, 4, 32
SHOTS, TAU, STEPS, BATCH, RATE = 4, 0.1, 700, 128, 0.01
SEEN = (1, 4, 8)


def run(seed: int) -> Metrics:
    """Train with shots of the same person, with those of another, and with none that differ."""
    generator = torch.Generator().manual_seed(seed)
    taste = torch.randn(PEOPLE + NEW, 1, SIZE, 1, generator=generator)
    pairs = torch.randn(PEOPLE + NEW, PAIRS, 2, SIZE, generator=generator)
    gap = (pairs @ taste).squeeze(-1).diff(dim=-1)
    pairs = torch.where((gap > 0)[..., None], pairs.flip(2), pairs).flatten(0, 1)  # best first
    order = torch.randperm(PEOPLE, generator=generator).tolist()
    others = [*order, *(PEOPLE + n for n in torch.randperm(NEW, generator=generator).tolist())]
    own = picked(range(PEOPLE), SHOTS, seed)
    trained = {
        "": fit(pairs, own, seed, generator),
        "/control": fit(pairs, exchanged(own, others), seed, generator),
        "/baseline": fit(pairs, None, seed, generator),
    }
    found: dict[str, float] = {}
    for count in SEEN:
        shots = picked(range(PEOPLE, PEOPLE + NEW), count, seed)
        strange = exchanged(shots, others)
        name = f"accuracy with {count} shots"
        found[name] = accuracy(pairs, shots, trained[""])
        found[f"{name}/control"] = accuracy(pairs, strange, trained["/control"])
        found[f"{name} of another"] = accuracy(pairs, strange, trained[""])
    found["accuracy without shots"] = accuracy(pairs, None, trained["/baseline"])
    for arm in ("", "/control"):
        few, many = (found[f"accuracy with {n} shots{arm}"] for n in (SEEN[0], SEEN[-1]))
        found[f"gain of more shots{arm}"] = many - few
    return found


def picked(people: range, count: int, seed: int) -> list[list[int]]:
    """Return the positions of the pairs that the operator shows with each pair of some people."""
    records = {at: record(at, f"p{at // PAIRS}") for n in people for at in at_home(n)}
    place = {one.id: at for at, one in records.items()}
    shots = Shots(count=count, seed=seed).over(records.values())
    made = [one for each in records.values() for one in shots(each) if isinstance(one, Record)]
    return [[place[name] for name in one.meta["shots"]] for one in made]


def at_home(person: int) -> range:
    """The positions of a person's pairs."""
    return range(person * PAIRS, (person + 1) * PAIRS)


def record(at: int, person: str) -> Record:
    """A pair that a person has ordered, the first response better."""
    names = ("w", "l")
    return Record(
        source=Source("world", row=at),
        context=(Message("user", f"question {at}"),),
        candidates=tuple(Candidate(name, (Message("assistant", name),)) for name in names),
        judgments=(Judgment("j", "pair", names, UNKNOWN_RATER, winner="w"),),
        principal=Principal(person),
    )


def exchanged(shots: Sequence[Sequence[int]], others: Sequence[int]) -> list[list[int]]:
    """Return as many shots, of the person whose turn it is in another order."""
    return [[others[at // PAIRS] * PAIRS + at % PAIRS for at in row] for row in shots]


def fit(
    pairs: Tensor, shots: list[list[int]] | None, seed: int, generator: torch.Generator
) -> Tensor:
    """Return the numbers of an encoder that is trained on the pairs of the people before."""
    sizes = 2 * SIZE * WIDTH + WIDTH + WIDTH * SIZE
    start = 0.3 * torch.randn(sizes, generator=generator)
    known = None if shots is None else torch.tensor(shots)

    def scores(numbers: Tensor, rows: Tensor) -> Scores:
        read = None if known is None else pairs[known[rows]]
        policy = responses(numbers, pairs[rows], read)
        return Scores(policy, torch.ones_like(policy), reference=torch.zeros_like(policy))

    return descend(
        partial(ipo, tau=TAU, average=False), scores, start, PEOPLE * PAIRS,
        steps=STEPS, batch=BATCH, rate=RATE, seed=seed,
    )  # fmt: skip


def responses(numbers: Tensor, pairs: Tensor, shots: Tensor | None) -> Tensor:
    """Return [B, 2] log-ratios of pairs [B, 2, D] after shots [B, N, 2, D]."""
    first, bias, second = numbers.split([2 * SIZE * WIDTH, WIDTH, WIDTH * SIZE])
    shots = torch.zeros(len(pairs), 1, 2, SIZE) if shots is None else shots
    inner = torch.tanh(shots.flatten(2) @ first.view(2 * SIZE, WIDTH) + bias)
    person = (inner @ second.view(WIDTH, SIZE)).mean(1)
    return (pairs @ person[:, :, None]).squeeze(-1)


def accuracy(pairs: Tensor, shots: list[list[int]] | None, numbers: Tensor) -> float:
    """Return the share of the new people's pairs that are ordered as they would."""
    read = None if shots is None else pairs[torch.tensor(shots)]
    found = responses(numbers, pairs[PEOPLE * PAIRS :], read)
    return float((found.diff(dim=1) < 0).double().mean())


ENTRY = Entry(
    name="fspo",
    numbers=("#13",),
    source="FSPO, arXiv:2502.19312, and the official code for layout, loss and number of shots.",
    claim="A policy that is trained to read a few pairs of a person orders the pairs of new people "
    "as they do, without training on them, and better with more shots.",
    world="People as directions among four features; 300 with ten pairs train, 100 are new.",
    baseline="The same policy on the same pairs without shots.",
    control="Shots of another person, in training and afterwards.",
    bounds=(
        Bound("accuracy with 4 shots", "new pairs ordered as by their person", at_least=0.7),
        Bound("gain of more shots", "accuracy with 8 shots less that with 1", at_least=0.08),
        Bound(
            "accuracy with 4 shots of another", "the same policy after another person's shots",
            at_most=0.55, control=False,
        ),
    ),
    run=run,
    seeds=5,
)  # fmt: skip
