"""Preferences that need not come from a reward: two policies play, and the one that is liked wins.

The truth: y is preferred to y' with a known probability, in cycles if need be. What each side gains
is how often it is preferred, less a KL penalty of strength tau, so there is one equilibrium, at
which pi(y) is in proportion to ref(y) exp(P(y beats pi) / tau).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from prefine.ledger.worlds.tabular import Rows, divergence


@dataclass(frozen=True)
class Game:
    """One prompt and its preferences.

    Attributes:
        better: [N, N] probability that the first is preferred to the second.
        reference: [N] log-probabilities of the reference policy, nats.

    Example:
        >>> game = Game.drawn(0, responses=4)
        >>> game.gap(game.fixed_point(0.5), 0.5) < 1e-9  # nobody gains by moving alone
        True
    """

    better: Tensor
    reference: Tensor

    @classmethod
    def drawn(cls, seed: int, *, responses: int = 5, spread: float = 2.0) -> "Game":
        """Draw log-odds N(0, spread^2) for each pair by itself, and reference logits N(0, 1)."""
        generator = torch.Generator().manual_seed(seed)
        shape = (responses, responses)
        odds = spread * torch.randn(shape, generator=generator, dtype=torch.float64).triu(1)
        logits = torch.randn(responses, generator=generator, dtype=torch.float64)
        return cls(torch.sigmoid(odds - odds.mT), logits.log_softmax(0))

    def answer(self, against: Tensor, tau: float) -> Tensor:
        """Return [N] log-probabilities of the best answer to a policy [N]."""
        return (self.reference + self.better @ against.exp() / tau).log_softmax(0)

    def fixed_point(self, tau: float, share: float = 0.0, *, steps: int = 20_000) -> Tensor:
        """Return [N] what is its own best answer; with a share, the answer to it and the reference.

        Args:
            tau: Strength of the penalty.
            share: Of the reference in the geometric mixture that is played against; 0 gives the
                equilibrium of the game.
            steps: Small steps towards the answer, of which there are more than enough.
        """
        found = self.reference
        for _ in range(steps):
            against = ((1 - share) * found + share * self.reference).log_softmax(0)
            moved = (0.98 * found + 0.02 * self.answer(against, tau)).log_softmax(0)
            if torch.equal(moved, found):
                break
            found = moved
        return found

    def gap(self, policy: Tensor, tau: float) -> float:
        """Return what the best answer to a policy [N] gains over it: 0 at the equilibrium."""
        value = torch.logsumexp(self.reference + self.better @ policy.exp() / tau, 0)
        own = 0.5 - tau * divergence(policy[None], self.reference[None])
        return float(tau * value) - own

    def every_pair(self) -> Rows:
        """Return all ordered pairs, evenly weighted, with the probability that the first wins."""
        count = len(self.reference)
        response = (~torch.eye(count, dtype=torch.bool)).nonzero()
        prob = self.better[response[:, 0], response[:, 1]]
        prompt = torch.zeros(len(response), dtype=torch.long)
        return Rows(prompt, response, torch.full_like(prob, 1 / len(prob)), {"prob": prob})
