"""Lists of responses with graded gold, ranked with chance and rated by people with scales.

The truth: each of the K responses to a prompt has a gold value. Rankings are drawn from
Plackett-Luce at a known temperature, so the probability of every order is exact, and of two
responses the better comes first as Bradley-Terry says. Raters score a response with gold times a
slope of their own, plus a shift and normal noise, rounded to the points of their scale: the
probability of every rating is exact, and with it how often two responses are tied. Gold itself may
come in levels, so that ties are there before anybody rates.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from prefine.errors import ConfigError
from prefine.ledger.descend import descend
from prefine.ledger.worlds.tabular import Tabular
from prefine.scores import Scores


@dataclass(frozen=True, slots=True)
class Scale:
    """How somebody rates.

    Attributes:
        points: The highest rating; the lowest is 1.
        slope: Points per unit of gold.
        shift: Points added to the middle of the scale.
        noise: Standard deviation in points, above 0.
    """

    points: int = 5
    slope: float = 1.0
    shift: float = 0.0
    noise: float = 0.5

    def __post_init__(self) -> None:
        if self.points < 2:
            raise ConfigError(f"`points` must be at least 2, got {self.points}.")
        if self.noise <= 0:
            raise ConfigError(f"`noise` must be above 0, got {self.noise}.")

    def felt(self, gold: Tensor) -> Tensor:
        """Return where gold [...] lies on the scale, before noise and rounding."""
        return (1 + self.points) / 2 + self.shift + self.slope * gold

    def probs(self, gold: Tensor) -> Tensor:
        """Return [..., points] the probabilities of the ratings 1, 2, ...

        Example:
            >>> gold = torch.tensor([0.0, 9.0])
            >>> Scale(points=3, noise=0.5).probs(gold).round(decimals=3)
            tensor([[0.1590, 0.6830, 0.1590],
                    [0.0000, 0.0000, 1.0000]])
        """
        edges = torch.arange(1.5, self.points, dtype=gold.dtype)
        below = torch.special.ndtr((edges - self.felt(gold)[..., None]) / self.noise)
        ends = torch.zeros_like(below[..., :1])
        return torch.cat([ends, below, ends + 1], -1).diff(dim=-1)

    def expected(self, gold: Tensor) -> Tensor:
        """Return [...] the mean rating of responses with this gold."""
        return self.probs(gold) @ torch.arange(1, self.points + 1, dtype=gold.dtype)

    def prob_above(self, gold: Tensor) -> Tensor:
        """Return [..., K, K] how often the first of two of gold [..., K] is rated higher."""
        probs = self.probs(gold)
        below = probs.cumsum(-1) - probs
        return probs @ below.mT

    def prob_tie(self, gold: Tensor) -> Tensor:
        """Return [..., K, K] how often two responses of gold [..., K] are rated alike."""
        probs = self.probs(gold)
        return probs @ probs.mT

    def ratings(self, gold: Tensor, generator: torch.Generator) -> Tensor:
        """Draw [...] ratings, whole numbers from 1 to the number of points."""
        noise = torch.randn(gold.shape, generator=generator, dtype=gold.dtype)
        return (self.felt(gold) + self.noise * noise).round().clamp(1, self.points)


@dataclass(frozen=True)
class Graded:
    """X prompts with K responses each.

    Attributes:
        gold: [X, K] values.
        features: [X, K, D] of which gold is made.
        taste: [D] whose products with the features are gold, before they are put into levels.

    Example:
        >>> world = Graded.drawn(0, prompts=20, responses=3, levels=2)
        >>> sorted(set(world.gold.flatten().tolist()))
        [-1.0, 1.0]
        >>> order = world.ranked(torch.Generator().manual_seed(0))
        >>> order.shape, world.log_prob(order).shape
        (torch.Size([20, 3]), torch.Size([20]))
    """

    gold: Tensor
    features: Tensor
    taste: Tensor

    @classmethod
    def drawn(
        cls,
        seed: int,
        *,
        prompts: int = 100,
        responses: int = 8,
        size: int = 20,
        strength: float = 2.0,
        levels: int = 0,
    ) -> "Graded":
        """Draw features N(0, 1) and a taste of a given strength.

        Args:
            seed: Of both.
            prompts: X.
            responses: K.
            size: D.
            strength: Deviation of gold.
            levels: Levels into which gold is put, alike far apart and alike frequent, from
                -strength / 2 to strength / 2; 0 for none.

        Raises:
            ConfigError: If there is a single level.
        """
        if levels == 1 or levels < 0:
            raise ConfigError(f"`levels` must be 0 for none, or at least 2, got {levels}.")
        generator = torch.Generator().manual_seed(seed)
        features = torch.randn(prompts, responses, size, generator=generator, dtype=torch.float64)
        direction = torch.randn(size, generator=generator, dtype=torch.float64)
        taste = strength * direction / direction.norm()
        gold = features @ taste
        if levels:
            rank = torch.special.ndtr(gold / strength)
            gold = strength * ((rank * levels).floor().clamp(max=levels - 1) / (levels - 1) - 0.5)
        return cls(gold, features, taste)

    @property
    def table(self) -> Tabular:
        """The same as a table, under a reference to which all responses are alike."""
        return Tabular(self.gold, torch.zeros_like(self.gold).log_softmax(-1))

    def ranked(self, generator: torch.Generator, *, temperature: float = 1.0) -> Tensor:
        """Draw [X, K] responses of each prompt, best first: Plackett-Luce on gold / temperature."""
        noise = -torch.empty_like(self.gold).exponential_(generator=generator).log()
        return (self.gold / temperature + noise).argsort(1, descending=True)

    def log_prob(self, order: Tensor, *, temperature: float = 1.0) -> Tensor:
        """Return [X] the log-probability that `ranked` draws an order [X, K], nats."""
        gold = self.gold.gather(1, order) / temperature
        return (gold - gold.flip(1).logcumsumexp(1).flip(1)).sum(1)

    def better(self, *, temperature: float = 1.0) -> Tensor:
        """Return [X, K, K] how often the first of two responses is ranked above the second."""
        return torch.sigmoid((self.gold[:, :, None] - self.gold[:, None, :]) / temperature)

    def expected_place(self, *, temperature: float = 1.0) -> Tensor:
        """Return [X, K] the mean place of each response, from 0: how many come before it."""
        return self.better(temperature=temperature).sum(1) - 0.5  # less itself

    def expected_kendall(self, scores: Tensor, *, temperature: float = 1.0) -> float:
        """Return what `kendall` of scores [X, K] with a drawn ranking is on average."""
        odds = 2 * self.better(temperature=temperature) - 1
        return _over_pairs((scores[:, :, None] - scores[:, None, :]).sign() * odds)

    def fit(
        self,
        loss: Callable[[Scores], Tensor],
        order: Tensor,
        utility: Tensor,
        score: Callable[[Tensor, Tensor], Tensor] = torch.matmul,
        start: Tensor | None = None,
        **how: Any,
    ) -> Tensor:
        """Return the parameters that a loss finds from ranked lists.

        Args:
            loss: An objective.
            order: [X, K'] responses of each prompt, best first; K' may be less than K.
            utility: [X, K'] what the loss is told of them, in the same order.
            score: Returns [B, K'] scores from features [B, K', D] and parameters.
            start: Parameters to begin from; None for zeros in place of the taste.
            how: Options as in `descend`.
        """
        features = self.features.gather(1, order[..., None].expand(*order.shape, len(self.taste)))

        def scores(parameters: Tensor, at: Tensor) -> Scores:
            policy = score(features[at], parameters)
            return Scores(
                policy, torch.ones_like(policy), reference=torch.zeros_like(policy),
                utility=utility[at],
            )  # fmt: skip

        begin = torch.zeros_like(self.taste) if start is None else start
        return descend(loss, scores, begin, len(order), **how)


def kendall(one: Tensor, other: Tensor) -> float:
    """Return how far two scorings [X, K] order lists alike: 1 entirely, -1 the other way round.

    A pair that is tied in either counts 0.

    Example:
        >>> kendall(torch.tensor([[3.0, 2.0, 1.0]]), torch.tensor([[9.0, 7.0, 8.0]])) * 3
        1.0
    """
    signs = [(values[:, :, None] - values[:, None, :]).sign() for values in (one, other)]
    return _over_pairs(signs[0] * signs[1])


def _over_pairs(values: Tensor) -> float:
    """Return the mean of [X, K, K] over pairs of different responses; the diagonal is 0."""
    count = values.shape[-1]
    return float(values.sum((1, 2)).mean()) / (count * (count - 1))


def ndcg(scores: Tensor, grade: Tensor, *, top: int) -> float:
    """Return the NDCG of the first places by scores [X, K], with gains of 2^grade - 1.

    Args:
        scores: What orders each list.
        grade: [X, K] true grades, from 0.
        top: Places that count.

    Raises:
        ConfigError: If a list has no grade above 0: nothing would be gained by any order.

    Example:
        >>> grade = torch.tensor([[1.0, 0.0, 0.0]])
        >>> ndcg(grade, grade, top=2), round(ndcg(torch.tensor([[1.0, 2.0, 0.0]]), grade, top=2), 3)
        (1.0, 0.631)
    """
    if bool((grade.max(1).values <= 0).any()):
        raise ConfigError("ndcg: a list has no grade above 0, so no order of it is the best.")
    gain = torch.exp2(grade) - 1
    discount = torch.arange(2, min(top, grade.shape[1]) + 2, dtype=gain.dtype).log2()

    def discounted(by: Tensor) -> Tensor:
        return (gain.gather(1, by.argsort(1, descending=True)[:, :top]) / discount).sum(1)

    return float((discounted(scores) / discounted(grade)).mean())
