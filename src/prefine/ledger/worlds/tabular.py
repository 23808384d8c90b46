"""Prompts with a handful of responses each, where every probability can be written down.

The truth: response y to prompt x has a reward r(x, y), and people compare two by Bradley-Terry.
What maximises expected reward with a KL penalty of strength beta is known (`optimum`), and losses
are computed over all pairs with their exact weights, so that what is found is what a loss asks for
and not what a sample happened to say. Samples are there too, where a claim is about their number.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from prefine.scores import Scores


@dataclass(frozen=True)
class Rows:
    """Which responses are compared, the better first.

    Attributes:
        prompt: [B] prompts.
        response: [B, K] responses.
        weight: [B] weights that add up to 1.
        fields: Further fields of `Scores`, such as `prob` or `utility`.
    """

    prompt: Tensor
    response: Tensor
    weight: Tensor
    fields: dict[str, Any]

    def __len__(self) -> int:
        return len(self.prompt)

    def take(self, at: Tensor) -> "Rows":
        """Return some of the rows, by positions or by a mask.

        Example:
            >>> Tabular.drawn(0).every_pair().take(torch.tensor([3])).response
            tensor([[0, 4]])
        """
        fields = {name: field[at] for name, field in self.fields.items()}
        return Rows(self.prompt[at], self.response[at], self.weight[at], fields)


@dataclass(frozen=True)
class Tabular:
    """X prompts with N responses each.

    Attributes:
        reward: [X, N] gold rewards.
        reference: [X, N] log-probabilities of the reference policy, nats.
        length: [X, N] lengths of the responses, or None for 1 each.

    Example:
        >>> world = Tabular.drawn(0, prompts=2, responses=3)
        >>> world.optimum(1e9).allclose(world.reference)  # so strong a penalty moves nothing
        True
        >>> better = world.better()
        >>> torch.equal(better + better.mT, torch.ones(2, 3, 3, dtype=torch.float64))
        True
    """

    reward: Tensor
    reference: Tensor
    length: Tensor | None = None

    @classmethod
    def drawn(
        cls,
        seed: int,
        *,
        prompts: int = 1,
        responses: int = 8,
        spread: float = 1.0,
        tilt: float = 1.0,
    ) -> "Tabular":
        """Draw a world: rewards N(0, spread^2) and reference logits N(0, tilt^2)."""
        generator = torch.Generator().manual_seed(seed)
        shape = (prompts, responses)
        reward = spread * torch.randn(shape, generator=generator, dtype=torch.float64)
        logits = tilt * torch.randn(shape, generator=generator, dtype=torch.float64)
        return cls(reward, logits.log_softmax(-1))

    def optimum(self, beta: float, reward: Tensor | None = None) -> Tensor:
        """Return [X, N] log-probabilities of pi(y) in proportion to ref(y) exp(r(y) / beta)."""
        reward = self.reward if reward is None else reward
        return (self.reference + reward / beta).log_softmax(-1)

    def gold(self, policy: Tensor) -> float:
        """Return the expected reward of a policy, [X, N] log-probabilities."""
        return float((policy.exp() * self.reward).sum(-1).mean())

    def better(self) -> Tensor:
        """Return [X, N, N] probabilities that the first of two responses is preferred."""
        return torch.sigmoid(self.reward[:, :, None] - self.reward[:, None, :])

    def every_pair(self, better: Tensor | None = None) -> Rows:
        """Return all ordered pairs, each weighted by how often its first response wins.

        Args:
            better: [X, N, N] probabilities, or None for those of the gold reward.
        """
        better = self.better() if better is None else better
        count = better.shape[-1]
        apart = ~torch.eye(count, dtype=torch.bool).expand_as(better)
        prompt, first, second = apart.nonzero(as_tuple=True)
        weight = better[prompt, first, second]
        return Rows(prompt, torch.stack([first, second], 1), weight / weight.sum(), {})

    def some_pairs(
        self,
        count: int,
        generator: torch.Generator,
        *,
        behaviour: Tensor | None = None,
        flips: float = 0.0,
    ) -> Rows:
        """Return pairs of two different responses to random prompts, as people labelled them.

        Args:
            count: How many.
            generator: Of prompts, responses and labels.
            behaviour: [X, N] log-probabilities of what writes the responses; None for the
                reference.
            flips: Probability that a label is the wrong way round.
        """
        source = self.reference if behaviour is None else behaviour
        prompt = torch.randint(len(source), (count,), generator=generator)
        both = torch.multinomial(source.exp()[prompt], 2, generator=generator)
        gap = self.reward[prompt[:, None], both].diff(dim=1).squeeze(1)  # second less first
        wins = torch.sigmoid(-gap) * (1 - flips) + torch.sigmoid(gap) * flips
        first = torch.rand(count, generator=generator, dtype=wins.dtype) < wins
        both = torch.where(first[:, None], both, both.flip(1))
        return Rows(prompt, both, torch.full((count,), 1 / count, dtype=wins.dtype), {})

    def some_lists(
        self, count: int, size: int, generator: torch.Generator, *, behaviour: Tensor | None = None
    ) -> Rows:
        """Return lists of different responses, ranked by Plackett-Luce on the gold reward."""
        source = self.reference if behaviour is None else behaviour
        prompt = torch.randint(len(source), (count,), generator=generator)
        drawn = torch.multinomial(source.exp()[prompt], size, generator=generator)
        reward = self.reward[prompt[:, None], drawn]
        noise = -torch.empty_like(reward).exponential_(generator=generator).log()
        order = (reward + noise).argsort(1, descending=True)
        weight = torch.full((count,), 1 / count, dtype=reward.dtype)
        return Rows(prompt, drawn.gather(1, order), weight, {"utility": reward.gather(1, order)})

    def whole_lists(self) -> Rows:
        """Return one list a prompt with all its responses, best first, with their rewards."""
        order = self.reward.argsort(-1, descending=True)
        weight = torch.full((len(order),), 1 / len(order), dtype=self.reward.dtype)
        fields = {"utility": self.reward.gather(1, order)}
        return Rows(torch.arange(len(order)), order, weight, fields)

    def scores(self, policy: Tensor, rows: Rows, **fields: Any) -> Scores:
        """Return what an adapter would: the scores of rows under [X, N] log-probabilities."""
        at = (rows.prompt[:, None], rows.response)
        length = torch.ones_like(self.reward) if self.length is None else self.length
        scores = Scores(policy[at], length[at].to(policy), reference=self.reference[at])
        return replace(scores, **{**rows.fields, **fields})

    def fit(
        self, loss: Callable[[Scores], Tensor], rows: Rows, start: Tensor | None = None
    ) -> Tensor:
        """Return the [X, N] log-probabilities that minimise a loss over rows.

        Args:
            loss: An objective.
            rows: What it is averaged over, by their weights.
            start: [X, N] log-probabilities to begin from; None for the reference.
        """
        begin = self.reference if start is None else start
        return minimise(
            lambda logits: (rows.weight * loss(self.scores(logits.log_softmax(-1), rows))).sum(),
            begin,
        ).log_softmax(-1)


def minimise(
    loss: Callable[[Tensor], Tensor], start: Tensor, *, steps: int = 500, tolerance: float = 1e-10
) -> Tensor:
    """Return the argument that minimises a smooth loss, by L-BFGS with a line search.

    Example:
        >>> minimise(lambda x: (x - 3).square().sum(), torch.zeros(1))
        tensor([3.])
    """
    found = start.detach().clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [found], max_iter=steps, tolerance_grad=tolerance, tolerance_change=1e-14,
        line_search_fn="strong_wolfe",
    )  # fmt: skip

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss(found)
        value.backward()
        return value

    optimizer.step(closure)
    return found.detach()


def total_variation(one: Tensor, other: Tensor) -> float:
    """Return half the sum of differences of two [X, N] log-probabilities, averaged over prompts.

    Example:
        >>> total_variation(torch.tensor([[1.0, 0.0]]).log(), torch.tensor([[0.5, 0.5]]).log())
        0.5
    """
    return float((one.exp() - other.exp()).abs().sum(-1).mean() / 2)


def divergence(one: Tensor, other: Tensor) -> float:
    """Return KL(one || other) of two [X, N] log-probabilities, nats, averaged over prompts."""
    return float(torch.special.xlogy(one.exp(), one.exp() / other.exp()).sum(-1).mean())
