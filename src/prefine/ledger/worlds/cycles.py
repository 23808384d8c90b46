"""Annotators of the word world among whom answers beat each other in a circle.

Three groups of equal size each weigh three features of an answer (asked things that are named,
kind words, rude words), each in another order: first twice as much as second, third not at all.
Each group is consistent, and yet the crowd is not: of answers with one feature each, two groups of
three like naming better than kindness, kindness better than rudeness, and rudeness better than
naming.

The truth: how often one answer is preferred to another is the mean over the groups of Bradley-Terry
on their gold (`Cycle.prob_first`). No reward orders such answers, so the best that a policy over
given answers can do is to mix: `best_mixture` is preferred to whatever it meets at least every
other time, and is found exactly, by a linear program.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import optimize
from torch import Tensor

from prefine.errors import ConfigError
from prefine.ledger.worlds import words
from prefine.ledger.worlds.annotators import Annotator
from prefine.ledger.worlds.games import Game
from prefine.ledger.worlds.words import Taste


@dataclass(frozen=True, slots=True)
class Voter(Annotator):
    """An annotator with a taste that is not in `words.GROUPS`.

    Attributes:
        taste: What is liked; the group only names it.
    """

    taste: Taste = words.GOLD

    def __post_init__(self) -> None:
        if not 0 <= self.flips < 0.5:
            raise ConfigError(f"`flips` must be in [0, 0.5), got {self.flips}.")

    def prob_first(self, prompt: str, first: str, second: str) -> float:
        """Return the probability that the first answer gets the label, flips included."""
        margin = words.gold(prompt, first, self.taste) - words.gold(prompt, second, self.taste)
        margin += self.length_bias * (len(first.split()) - len(second.split()))
        return self.flips + (1 - 2 * self.flips) / (1 + math.exp(-margin))


@dataclass(frozen=True, slots=True)
class Cycle:
    """Three groups whose majority goes in a circle.

    Attributes:
        strength: Log-odds per count of the feature that a group likes second; the first has twice.
        flips: Probability that a label is turned around, the same for all.

    Example:
        >>> prompt = "tell me about the bees and the boat ."
        >>> named = "the red bees rest . a cat rests ."
        >>> kind = "the warm cats rest . a cat rests ."
        >>> rude = "the grim cats rest . a cat rests ."
        >>> crowd = Cycle()
        >>> [round(crowd.prob_first(prompt, *two), 3)
        ...  for two in ((named, kind), (kind, rude), (rude, named))]
        [0.561, 0.561, 0.561]
        >>> best_mixture(crowd.better(prompt, (named, kind, rude))).round(decimals=6).tolist()
        [0.333333, 0.333333, 0.333333]
    """

    strength: float = 1.5
    flips: float = 0.0

    def __post_init__(self) -> None:
        if self.strength <= 0:
            raise ConfigError(f"`strength` must be above 0, got {self.strength}.")

    def voters(self) -> tuple[Voter, Voter, Voter]:
        """Return one annotator of each group, for `annotators.preferences`."""
        most, some = 2 * self.strength, self.strength
        tastes = {
            "namers": Taste(named=most, kind=some, rude=0.0, words=0.0),
            "kind": Taste(named=0.0, kind=most, rude=some, words=0.0),
            "rude": Taste(named=some, kind=0.0, rude=most, words=0.0),
        }
        one, two, three = (
            Voter(name, self.flips, group=name, taste=taste) for name, taste in tastes.items()
        )
        return one, two, three

    def prob_first(self, prompt: str, first: str, second: str) -> float:
        """Return how often a voter at random prefers the first answer."""
        return sum(voter.prob_first(prompt, first, second) for voter in self.voters()) / 3

    def better(self, prompt: str, answers: Sequence[str]) -> Tensor:
        """Return [N, N] how often the first of two answers to a prompt is preferred."""
        rows = [[self.prob_first(prompt, one, other) for other in answers] for one in answers]
        return torch.tensor(rows, dtype=torch.float64)

    def game(self, prompt: str, answers: Sequence[str], reference: Tensor | None = None) -> Game:
        """Return the game over some answers, with its equilibrium under a KL penalty.

        Args:
            prompt: What was asked.
            answers: N answers.
            reference: [N] log-probabilities, or None for all alike.
        """
        even = torch.zeros(len(answers), dtype=torch.float64).log_softmax(0)
        return Game(self.better(prompt, answers), even if reference is None else reference)


def best_mixture(better: Tensor) -> Tensor:
    """Return [N] probabilities of the policy that no answer is preferred to, on average.

    It is the von Neumann winner: the p for which the least of p . better is greatest, which is a
    half. Where several do as well, one of them.

    Args:
        better: [N, N] how often the first of two is preferred; it and its transpose add up to 1.

    Raises:
        ConfigError: If they do not: one of two answers would win both ways round.

    Example:
        >>> better = torch.tensor([[0.5, 0.9], [0.1, 0.5]])
        >>> best_mixture(better).tolist()  # one is better, so it takes all
        [1.0, 0.0]
    """
    both = better.double() + better.double().mT
    if not torch.allclose(both, torch.ones_like(both), atol=1e-6):
        raise ConfigError("`better` and its transpose must add up to 1: of two answers one wins.")
    edge = better.double().numpy() - 0.5
    count = len(edge)
    # maximise v with p . edge[:, j] >= v for all j: unknowns are p and v
    limits = np.hstack([-edge.T, np.ones((count, 1))])
    sums = np.append(np.ones(count), 0.0)[None]
    found = optimize.linprog(
        np.append(np.zeros(count), -1.0),
        A_ub=limits, b_ub=np.zeros(count), A_eq=sums, b_eq=[1.0],
        bounds=[(0, None)] * count + [(None, None)],
    )  # fmt: skip
    share = torch.from_numpy(np.array(found.x[:count])).clamp(min=0)
    return share / share.sum()


def is_cyclic(better: Tensor) -> bool:
    """Return whether some answers beat each other in a circle, from [N, N] preferences.

    Example:
        >>> is_cyclic(torch.tensor([[0.5, 0.9], [0.1, 0.5]]))
        False
    """
    beats = better > 0.5
    reach = beats.clone()
    for middle in range(len(beats)):
        reach |= reach[:, middle, None] & reach[None, middle]
    return bool(reach.diagonal().any())
