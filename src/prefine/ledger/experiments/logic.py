"""Losses are ordered as the statements they stand for, and named losses are statements.

World: every structure over two events (the better response is valid, the worse is valid) in which
something can win and something can lose, 225 of 256; probabilities of both events at random.
Truth: entailment is decided on the truth table, the order of losses on the probabilities.
"""

import itertools
from collections.abc import Callable

import torch
from torch import Tensor

from prefine.ledger.entry import Bound, Entry, Metrics
from prefine.objectives import cpo, dpo
from prefine.objectives.logic import MEANINGS, Structure, from_events
from prefine.scores import Scores

POINTS = 200
ROUNDING = 1e-12


def run(seed: int) -> Metrics:
    """Compare entailment with the order of losses, and losses from statements with named ones."""
    generator = torch.Generator().manual_seed(seed)
    chance = torch.rand(POINTS, 4, generator=generator, dtype=torch.float64)
    log_prob = (0.001 + 0.998 * chance).log()  # odds of what is certain are infinite
    structures = every_structure()
    odds = torch.stack([structure.odds(log_prob[:, :2]) for structure in structures])
    exceeds = torch.stack([(one > odds + ROUNDING).any(-1) for one in odds])
    entails = related(structures, Structure.entails)
    by_half = related(structures, lambda one, other: one.wins <= other.wins) & ~entails
    return {
        "violated": share(exceeds, entails),
        "violated/control": share(exceeds, by_half),
        "violated/baseline": share(exceeds, related(structures, lambda *_: True)),
        "error": error(log_prob, whole=True),
        "error/control": error(log_prob, whole=False),
        "usable": float(sum(is_usable(structure, log_prob[:, :2]) for structure in structures)),
    }


def every_structure() -> list[Structure]:
    """Return all structures of two events that can win and can lose."""
    sides = [
        frozenset(side) for count in range(1, 5) for side in itertools.combinations(range(4), count)
    ]
    return [Structure(("w", "l"), wins, loses) for wins in sides for loses in sides]


def related(structures: list[Structure], holds: Callable[[Structure, Structure], bool]) -> Tensor:
    """Return [S, S] which structures stand in a relation to which others."""
    table = [[holds(one, other) for other in structures] for one in structures]
    return torch.tensor(table) & ~torch.eye(len(structures), dtype=torch.bool)


def share(exceeds: Tensor, pairs: Tensor) -> float:
    """Return of how many pairs the first has the higher odds, and the lower loss, somewhere."""
    return float(exceeds[pairs].double().mean())


def error(log_prob: Tensor, *, whole: bool) -> float:
    """Return the largest difference of named losses from those of their statements.

    Args:
        log_prob: [B, 4] of the events.
        whole: Whether what counts on both sides is kept.
    """
    pairs = Scores(log_prob[:, :2], torch.ones_like(log_prob[:, :2]), reference=log_prob[:, 2:])
    named = {"cpo": cpo(pairs, beta=1.0, likelihood_weight=0.0), "dpo": dpo(pairs, beta=1.0)}
    differences: list[Tensor] = []
    for name, losses in named.items():
        built = from_events(*MEANINGS[name].formulas[: 3 if whole else 2])
        differences.append((built(pairs) - losses).abs().max())
    return float(torch.stack(differences).max())


def is_usable(structure: Structure, log_prob: Tensor) -> bool:
    """Whether odds rise with the better response's probability and fall with the worse one's."""
    at = log_prob.clone().requires_grad_()
    slopes = torch.autograd.grad(structure.odds(at).sum(), at)[0]
    return bool((slopes[:, 0] > ROUNDING).all() and (slopes[:, 1] < -ROUNDING).all())


ENTRY = Entry(
    name="logic",
    numbers=("#63",),
    source="Richardson, Srikumar and Sabharwal 2024, arXiv:2412.17696, sections 4 and 5.",
    claim="A structure that entails another has the higher loss at all probabilities.",
    world="All 225 structures of two events that can win and lose; 200 random probabilities.",
    baseline="Any two structures, whatever holds between them.",
    control=(
        "Of the order: winning rows inside, losing rows not, which is half of entailment. Of named "
        "losses: their structures without what counts on both sides."
    ),
    bounds=(
        Bound("violated", "share of entailments whose losses are out of order", at_most=0.0),
        Bound("error", "largest difference of cpo and dpo from their structures", at_most=1e-9),
    ),
    run=run,
    worlds=(),
)
