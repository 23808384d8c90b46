"""All sentences of a few words, one word after the other, under policies that are tables.

The truth: the next word, or the end, depends on the word before it and on its place, so a policy is
a table of logits and the probability of each of the few hundred sentences is exact, and with it
expected length, quality, and every divergence. Quality is a mean over words, each judged beside the
one before it, with mean 0 and deviation 1 under the reference: length has no part in it unless it
is paid for.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import torch
from torch import Tensor

from prefine.ledger.descend import descend
from prefine.scores import Scores

WORDS, PLACES = 3, 5
END = START = WORDS


@dataclass(frozen=True)
class Sentences:
    """A reference, and what people like.

    Attributes:
        reference: [P, W + 1, W + 1] logits of what follows, by place and by the word before; the
            last column is the end and the last row the start.
        quality: [S] of every sentence.

    Example:
        >>> world = Sentences.drawn(0)
        >>> world.reference.shape, len(world.quality)
        (torch.Size([5, 4, 4]), 364)
        >>> float(world.log_prob(world.reference).exp().sum().round(decimals=9))
        1.0
    """

    reference: Tensor
    quality: Tensor

    @classmethod
    def drawn(cls, seed: int, *, ending: float = 0.0, spread: float = 1.0) -> "Sentences":
        """Draw a reference with logits N(0, 1/4), and quality.

        Args:
            seed: Of both.
            ending: Added to the logits of the end.
            spread: Deviation of quality under the reference.
        """
        generator = torch.Generator().manual_seed(seed)
        shape = (PLACES, WORDS + 1, WORDS + 1)
        logits = torch.randn(shape, generator=generator, dtype=torch.float64) / 2
        logits[..., END] += ending
        worth = torch.randn(WORDS + 1, WORDS, generator=generator, dtype=torch.float64)
        sentences = all_sentences()
        said = sentences < END
        of_words = torch.where(said, worth[_before(sentences), sentences.clamp(max=END - 1)], 0.0)
        mean = of_words.sum(1) / said.sum(1).clamp(min=1)
        world = cls(logits, mean)
        centred = mean - world.expected(logits, mean)
        return cls(logits, spread * centred / world.expected(logits, centred.square()) ** 0.5)

    @cached_property
    def tokens(self) -> Tensor:
        """[S, P] every sentence, the end included where there is room for it; -1 after it."""
        return all_sentences()

    @cached_property
    def length(self) -> Tensor:
        """[S] words, and the end where there is room for it."""
        return (self.tokens >= 0).sum(1).to(self.quality)

    def steps(self, logits: Tensor) -> Tensor:
        """Return [S, P, W + 1] log-probabilities of all that might follow, along each sentence."""
        table = logits.log_softmax(-1).expand(PLACES, -1, -1)
        return table[torch.arange(PLACES), _before(self.tokens)]

    def log_prob(self, logits: Tensor) -> Tensor:
        """Return the [S] log-probabilities of all sentences."""
        return self._of_tokens(self.steps(logits)).sum(1)

    def expected(self, logits: Tensor, values: Tensor) -> float:
        """Return the mean of values [S] over what a policy writes."""
        return float((self.log_prob(logits).exp() * values).sum())

    def divergence(self, logits: Tensor) -> float:
        """Return KL(policy || reference), nats."""
        ratio = self.log_prob(logits) - self.log_prob(self.reference)
        return self.expected(logits, ratio)

    def pairs(
        self, count: int, generator: torch.Generator, *, by: Tensor | None = None, paid: float = 0.0
    ) -> Tensor:
        """Return [count, 2] sentences, the better first, as people judge.

        Args:
            count: How many.
            generator: Of sentences and verdicts.
            by: [S] log-probabilities of who writes them; None for the reference.
            paid: What people like each word by, beside quality.
        """
        writer = self.log_prob(self.reference) if by is None else by
        both = torch.multinomial(
            writer.exp().expand(count, -1), 2, replacement=False, generator=generator
        )
        liked = (self.quality + paid * self.length)[both]
        chance = torch.rand(count, generator=generator, dtype=liked.dtype)
        first = chance < torch.sigmoid(liked[:, 0] - liked[:, 1])
        return torch.where(first[:, None], both, both.flip(1))

    def scores(self, logits: Tensor, pairs: Tensor) -> Scores:
        """Return the scores of sentences [B, K] under logits, token by token too."""
        mask = self.tokens >= 0
        own, other = self.steps(logits), self.steps(self.reference)
        elements = {
            "mask": mask,
            "log_prob": self._of_tokens(own),
            "reference_log_prob": self._of_tokens(other),
            "kl_reference": (other.exp() * (other - own)).sum(-1) * mask,
            "log_collision": (2 * own).logsumexp(-1) * mask,
        }
        return Scores(
            elements["log_prob"].sum(1)[pairs],
            self.length[pairs],
            reference=elements["reference_log_prob"].sum(1)[pairs],
            elements={name: values[pairs] for name, values in elements.items()},
        )

    def fit(
        self,
        loss: Callable[[Scores], Tensor],
        pairs: Tensor,
        *,
        start: Tensor | None = None,
        **how: Any,
    ) -> Tensor:
        """Return the logits that a loss finds from pairs [B, 2]; options as in `descend`."""
        begin = self.reference if start is None else start
        return descend(
            loss, lambda logits, at: self.scores(logits, pairs[at]), begin, len(pairs), **how
        )

    def _of_tokens(self, steps: Tensor) -> Tensor:
        """Return [S, P] log-probabilities of the tokens themselves, 0 after the end."""
        picked = steps.gather(2, self.tokens.clamp(min=0)[..., None]).squeeze(2)
        return torch.where(self.tokens >= 0, picked, 0.0)


def all_sentences() -> Tensor:
    """Return [S, P] all sentences of no word up to as many as there are places."""
    rows = [
        words + (() if count == PLACES else (END,) + (-1,) * (PLACES - count - 1))
        for count in range(PLACES + 1)
        for words in product(range(WORDS), repeat=count)
    ]
    return torch.tensor(rows)


def _before(tokens: Tensor) -> Tensor:
    """Return [S, P] the token before each; any will do after the end."""
    start = torch.full_like(tokens[:, :1], START)
    return torch.cat([start, tokens[:, :-1].clamp(min=0)], 1)
