"""Points in the plane: four clouds, a reward that grows to the right, and the exact answer.

The truth: data is an even mixture of four round Gaussians at (+-1, +-1). The reward is linear,
r(x) = slope x_0. The reference tilted by exp(r / temperature), which is the optimum of a reward
with a KL penalty, is again a mixture of four Gaussians of the same spread: its weights and means
are known (`Mixture.tilted`), so every policy can be held against it.

With captions, 0 asks for points to the right and 1 for points to the left: the reward changes its
sign with the caption, and so does the exact answer. The base model has seen captions that said
nothing, so all that it knows of them it learns from preferences.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from prefine.adapters.rectified_flow import RectifiedFlow

SPREAD = 0.25
"""Standard deviation of a cloud."""

NEAR = 4.0
"""A point lies near a cloud within so many standard deviations of its mean."""


@dataclass(frozen=True)
class Mixture:
    """A mixture of round Gaussians of one spread.

    Attributes:
        weights: [M] shares that add up to 1.
        means: [M, 2].
        spread: Standard deviation.

    Example:
        >>> truth = clouds()
        >>> truth.tilted(torch.tensor([2.0, 0.0]), 1.0).right_share()  # sigma(4)
        0.9820137900379085
    """

    weights: Tensor
    means: Tensor
    spread: float = SPREAD

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Return [count, 2] points."""
        cloud = torch.multinomial(self.weights, count, replacement=True, generator=generator)
        noise = torch.randn(count, 2, generator=generator, dtype=self.means.dtype)
        return self.means[cloud] + self.spread * noise

    def log_prob(self, points: Tensor) -> Tensor:
        """Return [count] log-densities, nats."""
        apart = (points[:, None] - self.means).square().sum(-1) / (2 * self.spread**2)
        each = self.weights.log() - apart - math.log(2 * math.pi * self.spread**2)
        return each.logsumexp(-1)

    def tilted(self, slope: Tensor, temperature: float) -> "Mixture":
        """Return the mixture in proportion to this density times exp(slope . x / temperature)."""
        push = slope.to(self.means) / temperature
        weights = (self.weights.log() + self.means @ push).softmax(0)
        return Mixture(weights, self.means + self.spread**2 * push, self.spread)

    def right_share(self) -> float:
        """Return the share of the clouds whose mean lies to the right."""
        return float(self.weights[self.means[:, 0] > 0].sum())


def clouds() -> Mixture:
    """Return the data: four equal clouds."""
    means = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]], dtype=torch.float64)
    return Mixture(torch.full((4,), 0.25, dtype=torch.float64), means)


@dataclass(frozen=True)
class Share:
    """What a sample of points looks like, beside the truth.

    Attributes:
        right: Share of points with x_0 above 0.
        near: Share within `NEAR` spreads of a cloud of the target.
        distance: Energy distance to points of the target; 0 for the same distribution.
    """

    right: float
    near: float
    distance: float

    @classmethod
    def of(cls, points: Tensor, target: Mixture, generator: torch.Generator) -> "Share":
        """Compare [count, 2] points with a target."""
        points = points.to(target.means)
        nearest = torch.cdist(points, target.means).min(1).values
        true = target.sample(len(points), generator)
        return cls(
            right=float((points[:, 0] > 0).double().mean()),
            near=float((nearest < NEAR * target.spread).double().mean()),
            distance=energy_distance(points, true),
        )


def energy_distance(one: Tensor, other: Tensor) -> float:
    """Return 2 E|X - Y| - E|X - X'| - E|Y - Y'|, without bias, from points [N, d] and [M, d].

    Example:
        >>> apart = energy_distance(torch.zeros(3, 1), torch.ones(3, 1))
        >>> apart
        2.0
    """

    def within(points: Tensor) -> float:
        count = len(points)
        return float(torch.cdist(points, points).sum() / (count * (count - 1)))

    return 2 * float(torch.cdist(one, other).mean()) - within(one) - within(other)


class TimeMLP(nn.Module):
    """A denoiser of points: three layers, and sines and cosines of the time.

    Args:
        width: Units of a layer.
        classes: Number of conditions that it may be told, 0 for none.
    """

    def __init__(self, width: int = 128, classes: int = 0) -> None:
        super().__init__()
        self.label = nn.Embedding(classes, 8) if classes else None
        size = 2 + 16 + (8 if classes else 0)
        layers: list[nn.Module] = []
        for _ in range(3):
            layers += [nn.Linear(size, width), nn.SiLU()]
            size = width
        self.layers = nn.Sequential(*layers, nn.Linear(width, 2))

    def forward(self, points: Tensor, time: Tensor, label: Tensor | None = None) -> Tensor:
        """Return [N, 2] velocities of [N, 2] points at [N] times."""
        waves = time.to(points)[:, None] * 2.0 ** torch.arange(8).to(points)
        parts = [points, waves.sin(), waves.cos()]
        if self.label is not None:
            assert label is not None
            parts.append(self.label(label))
        return self.layers(torch.cat(parts, dim=1))


def base_flow(
    seed: int = 0, *, steps: int = 3000, batch: int = 256, captioned: bool = False
) -> TimeMLP:
    """Return a flow of the clouds, trained from scratch in a few seconds; captions are a coin."""
    torch.manual_seed(seed)
    model, truth, flow = TimeMLP(classes=2 if captioned else 0), clouds(), RectifiedFlow()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        points = truth.sample(batch, generator).float()
        noise = torch.randn(batch, 2, generator=generator)
        time = torch.rand(batch, generator=generator)
        label = coin(batch, generator) if captioned else None
        found = model(flow.noised(points, noise, time), time, label)
        loss = (found - flow.target(points, noise, time)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model


@torch.no_grad()
def flow_samples(
    model: nn.Module,
    count: int,
    generator: torch.Generator,
    steps: int = 50,
    label: Tensor | None = None,
) -> Tensor:
    """Return [count, 2] points of a flow, by Heun's method from noise to data; `label` [count]."""
    points = torch.randn(count, 2, generator=generator)
    times = torch.linspace(1, 0, steps + 1)
    for now, then in pairwise(times):
        first = model(points, now.expand(count), label)
        ahead = points + (then - now) * first
        second = model(ahead, then.expand(count), label)
        points = points + (then - now) * (first + second) / 2
    return points


def coin(count: int, generator: torch.Generator) -> Tensor:
    """Return [count] captions, each 0 or 1 with even chances."""
    return torch.randint(2, (count,), generator=generator)


def turned(points: Tensor, label: Tensor) -> Tensor:
    """Return points [..., 2], those under caption 1 turned around, so that all should lie right."""
    return points * (1 - 2 * label)[..., None]


def rows(
    points: Tensor,
    utility: Callable[[Tensor], Tensor] | None = None,
    roles: tuple[str, ...] = (),
    labels: Tensor | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield the rows of a denoising adapter from [B, K, 2] points, best first.

    Args:
        points: Points of each row.
        utility: Their reward, [..., 2] -> [...].
        roles: Their roles; `response` for one, chosen and rejected for two, numbered for more.
        labels: Their captions [B, K], if they have any.
    """
    count = points.shape[1]
    names = roles or {1: ("response",), 2: ("chosen", "rejected")}.get(
        count, tuple(f"response_{k}" for k in range(count))
    )
    worth = None if utility is None else utility(points)
    for at, row in enumerate(points.float().numpy()):
        told = [{}] * count if labels is None else [{"label": one} for one in labels[at].numpy()]
        yield {
            "at": at, "record": str(at), "cluster": str(at), "roles": list(names), "weight": 1.0,
            "sample": list(np.asarray(row)), "condition": told,
            "utility": None if worth is None else worth[at].tolist(),
        }  # fmt: skip


def preferred(points: Tensor, slope: Tensor, generator: torch.Generator) -> Tensor:
    """Return pairs [B, 2, 2], the winner first: Bradley-Terry on the linear reward."""
    reward = points @ slope.to(points)
    first = torch.rand(len(points), generator=generator, dtype=reward.dtype) < torch.sigmoid(
        reward[:, 0] - reward[:, 1]
    )
    order = torch.where(first[:, None], torch.tensor([[0, 1]]), torch.tensor([[1, 0]]))
    return points[torch.arange(len(points))[:, None], order]
