"""Domains of the word world, each with a taste of its own.

How something is asked tells its domain: a request to write, a question, or a question for an
opinion. Half of all prompts are of the first, three in eight of the second, one in eight of the
third.

The truth: gold is the taste of the prompt's domain applied to the counts of `words.features`, and
it is known of any two answers how often each domain prefers the first. Tastes conflict: length is
liked where writing is asked for and disliked in answers to questions; an opinion may be rude. One
taste for all is therefore wrong somewhere, and how often is exact (`disagreement`).
"""

import math
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from prefine.errors import ConfigError
from prefine.ledger.worlds import words
from prefine.ledger.worlds.annotators import Annotator
from prefine.ledger.worlds.words import Taste

TASTES: Mapping[str, Taste] = MappingProxyType(
    {
        "writing": Taste(named=1.0, kind=1.5, rude=-1.5, words=0.3),
        "question": Taste(named=2.0, kind=0.3, rude=-0.3, words=-0.4),
        "opinion": Taste(named=1.0, kind=-1.0, rude=1.0, words=-0.05),
    }
)
OPENINGS: Mapping[str, str] = MappingProxyType(
    {
        "tell": "writing", "describe": "writing", "say": "writing", "write": "writing",
        "what": "question", "where": "question", "how": "question", "do": "opinion",
    }
)  # fmt: skip
"""First word of a prompt -> its domain."""


def domain(prompt: str) -> str:
    """Return the domain of a prompt.

    Raises:
        ConfigError: If it does not open as a prompt of the word world does.

    Example:
        >>> domain("do you like the pies and the cooks ?")
        'opinion'
    """
    opening = prompt.split(" ", 1)[0]
    if opening not in OPENINGS:
        raise ConfigError(f"No prompt of the word world opens like {prompt!r}.")
    return OPENINGS[opening]


def prompts(name: str, n: int, seed: int) -> list[str]:
    """Return `n` different prompts of one domain in random order.

    Raises:
        ConfigError: If there is no such domain, or it does not have that many.

    Example:
        >>> prompts("question", 1, seed=0)
        ['how is the boat with the bells ?']
    """
    if name not in TASTES:
        raise ConfigError(f"`name` must be one of {', '.join(TASTES)}, got {name!r}.")
    forms = len(words.NAMES) * (len(words.NAMES) - 2)
    everything = words.prompts(len(words.REQUESTS) * forms, seed)
    fitting = [prompt for prompt in everything if domain(prompt) == name]
    if n > len(fitting):
        raise ConfigError(f"`n` must be at most {len(fitting)} for {name}, got {n}.")
    return fitting[:n]


def gold(prompt: str, response: str) -> float:
    """Return the true reward of an answer by the taste of its prompt's domain, in log-odds."""
    return words.gold(prompt, response, TASTES[domain(prompt)])


@dataclass(frozen=True, slots=True)
class Local(Annotator):
    """An annotator who judges each prompt by the taste of its domain; has no group of its own.

    Example:
        >>> nice, curt = "the warm cats sing . a dog rests .", "a cat rests . a dog rests ."
        >>> [round(Local("ada").prob_first(prompt, nice, curt), 2)
        ...  for prompt in ("describe the bee and the pie .", "do you like the bee and the pie ?")]
        [0.86, 0.26]
    """

    def prob_first(self, prompt: str, first: str, second: str) -> float:
        """Return the probability that the first answer gets the label, flips included."""
        margin = gold(prompt, first) - gold(prompt, second)
        margin += self.length_bias * (len(first.split()) - len(second.split()))
        return self.flips + (1 - 2 * self.flips) / (1 + math.exp(-margin))


def disagreement(
    pairs: Iterable[tuple[str, str, str]], taste: Taste = words.GOLD
) -> dict[str, float]:
    """Return for each domain the share of pairs that a taste orders otherwise than the domain.

    A pair that either of them finds equal counts half.

    Args:
        pairs: Prompts with two answers each.
        taste: The one taste for all.
    """
    wrong: dict[str, list[float]] = {}
    for prompt, first, second in pairs:
        local = gold(prompt, first) - gold(prompt, second)
        other = words.gold(prompt, first, taste) - words.gold(prompt, second, taste)
        equal = min(abs(local), abs(other)) < 1e-9
        wrong.setdefault(domain(prompt), []).append(0.5 if equal else float(local * other < 0))
    return {name: sum(found) / len(found) for name, found in wrong.items()}


def mixed(shares: Mapping[str, float], n: int, seed: int) -> list[str]:
    """Return `n` prompts whose domains are drawn with given shares.

    Args:
        shares: Domain -> weight.
        n: How many; a prompt may come twice.
        seed: Of domains and prompts.
    """
    rng = random.Random(seed)
    every = {name: prompts(name, _count(name), seed) for name in shares}
    names = rng.choices(list(shares), weights=list(shares.values()), k=n)
    return [rng.choice(every[name]) for name in names]


def _count(name: str) -> int:
    """How many prompts a domain has."""
    forms = len(words.NAMES) * (len(words.NAMES) - 2)
    return forms * sum(OPENINGS[request.split()[0]] == name for request in words.REQUESTS)
