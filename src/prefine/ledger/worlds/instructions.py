"""Prompts of the word world that ask for several things at once, each of which a program checks.

An `Ask` is a prompt and some instructions, such as `Use at least 9 words.`, by the checkers of
`prefine.records.instructions`. They are drawn for a known answer (the witness) that obeys them all,
so there is always an answer that does.

The truth: whether an answer obeys an instruction is read off its text, so how many it meets is
exact; gold is that number times a known worth, beside the word world's own gold. The checkers count
words without full stops. Four checkers tell grammatical answers apart (`TELLING`); the others
(script, JSON, case) all of them obey, or none. The tiny model's tokenizer has no words for
instructions: this is a world for rewards, judges and tables.
"""

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from prefine.errors import ConfigError
from prefine.ledger.worlds import words
from prefine.records.instructions import FAMILIES, Instruction, drawn

TELLING = ("words", "keyword", "start", "end")
"""Checkers that some grammatical answers pass and others fail."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A prompt with instructions.

    Attributes:
        prompt: What is asked about.
        instructions: What an answer has to obey.

    Example:
        >>> ask = Ask("describe the bee and the pie .",
        ...           (Instruction("at_most_words", "8"), Instruction("ends_with", "pie")))
        >>> ask.text
        'describe the bee and the pie . Use at most 8 words. Let the last word be pie.'
        >>> ask.obeyed("the warm bee rests . a cat rests .")
        (True, False)
        >>> ask.gold("the warm bee rests . a cat rests .", worth=2.0, taste=None)
        2.0
    """

    prompt: str
    instructions: tuple[Instruction, ...]

    @classmethod
    def drawn(
        cls,
        prompt: str,
        witness: str,
        rng: random.Random,
        *,
        count: int = 3,
        families: Sequence[str] = TELLING,
    ) -> "Ask":
        """Draw instructions of different checkers, all of which the witness obeys.

        Args:
            prompt: What is asked about.
            witness: An answer.
            rng: Where chance comes from.
            count: How many instructions.
            families: Checkers that may be drawn, of `prefine.records.instructions.FAMILIES`.

        Raises:
            ConfigError: If there are fewer checkers than instructions, or one is unknown.
        """
        if unknown := sorted(set(families) - set(FAMILIES)):
            known = ", ".join(FAMILIES)
            raise ConfigError(f"`families` must be of {known}, got {', '.join(unknown)}.")
        if not 1 <= count <= len(set(families)):
            raise ConfigError(
                f"`count` must be from 1 to the number of checkers, {len(set(families))}, "
                f"got {count}: two instructions of one checker might contradict each other."
            )
        chosen = rng.sample(sorted(set(families)), count)
        found = [drawn(family, [witness], [], rng) for family in chosen]
        return cls(prompt, tuple(one for one in found if one is not None))

    @property
    def text(self) -> str:
        """The prompt with its instructions."""
        return " ".join([self.prompt, *(one.text for one in self.instructions)])

    def obeyed(self, response: str) -> tuple[bool, ...]:
        """Return for each instruction whether an answer obeys it."""
        return tuple(one.holds(response) for one in self.instructions)

    def met(self, response: str) -> int:
        """Return how many instructions an answer obeys."""
        return sum(self.obeyed(response))

    def gold(
        self, response: str, *, worth: float = 1.0, taste: words.Taste | None = words.GOLD
    ) -> float:
        """Return the true reward of an answer, in log-odds.

        Args:
            response: The answer.
            worth: Of each instruction that is met.
            taste: What is liked beside them, or None for nothing.
        """
        beside = 0.0 if taste is None else words.gold(self.prompt, response, taste)
        return worth * self.met(response) + beside

    def prob_first(
        self, first: str, second: str, *, worth: float = 1.0, taste: words.Taste | None = words.GOLD
    ) -> float:
        """Return how often the first answer is preferred: Bradley-Terry on gold."""
        one, other = (self.gold(answer, worth=worth, taste=taste) for answer in (first, second))
        return 1 / (1 + math.exp(other - one))


def asks(
    prompts: Iterable[str],
    seed: int,
    *,
    count: int = 3,
    families: Sequence[str] = TELLING,
) -> list[tuple[Ask, str]]:
    """Return an ask for each prompt, and an answer of the reference that meets all of it.

    Example:
        >>> (ask, witness), = asks(["describe the bee and the pie ."], seed=0)
        >>> ask.met(witness)
        3
    """
    rng = random.Random(seed)
    found: list[tuple[Ask, str]] = []
    for prompt in prompts:
        witness = words.reference(prompt, rng)
        found.append((Ask.drawn(prompt, witness, rng, count=count, families=families), witness))
    return found
