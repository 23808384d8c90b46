"""Clouds with captions, and a denoiser whose every error is written out.

The truth: caption c means the cloud N(mu_c, spread^2 I), of four at (+-1, +-1). The denoiser is the
exact one of N(m_c, spread^2 I) under a rectified flow, so the four means are all that it can learn.
Its base learnt of captions of which a share was drawn at random: its means lie between the clouds.
What it draws under a caption is its Gaussian, so how often that falls into the right quadrant, and
how far its mean is from the cloud's, are known without a sample.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from prefine.adapters.rectified_flow import RectifiedFlow

CLOUDS = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]], dtype=torch.float64)


@dataclass(frozen=True)
class Captioned:
    """Four clouds, each with its caption.

    Attributes:
        spread: Standard deviation of a cloud, and of what the denoiser draws.
        corrupted: Share of the captions that the base learnt from that were drawn at random.

    Example:
        >>> world = Captioned()
        >>> world.base[0]  # 0.7 of its own cloud, 0.3 of the mean of other clouds, which is -1/3
        tensor([0.4667, 0.4667], dtype=torch.float64)
        >>> round(world.follows(world.base), 3), world.distance(CLOUDS)
        (0.68, 0.0)
    """

    spread: float = 0.5
    corrupted: float = 0.4

    @property
    def base(self) -> Tensor:
        """[4, 2] means that imitation of corrupted captions finds."""
        others = (CLOUDS.sum(0) - CLOUDS) / (len(CLOUDS) - 1)
        return (1 - self.corrupted) * CLOUDS + self.corrupted * others

    def points(self, caption: Tensor, generator: torch.Generator) -> Tensor:
        """Return [N, 2] points of the clouds of [N] captions."""
        noise = torch.randn(len(caption), 2, generator=generator, dtype=CLOUDS.dtype)
        return CLOUDS[caption] + self.spread * noise

    def scores(
        self, means: Tensor, points: Tensor, caption: Tensor, time: Tensor, noise: Tensor
    ) -> Tensor:
        """Return [N] minus half of the squared error of the velocity, as an adapter would.

        Args:
            means: [4, 2] of the denoiser.
            points: [N, 2].
            caption: [N] that the denoiser is told.
            time: [N] in [0, 1], 1 being noise.
            noise: [N, 2].
        """
        flow = RectifiedFlow()
        noised, wanted = flow.noised(points, noise, time), flow.target(points, noise, time)
        clear, noisy = flow.shares(points, time)
        mean = means[caption]
        within = clear**2 * self.spread**2 + noisy**2
        off = noised - clear * mean
        velocity = noisy / within * off - (mean + clear * self.spread**2 / within * off)
        return -(velocity - wanted).square().sum(-1) / 2

    def follows(self, means: Tensor) -> float:
        """Return how often a sample falls into the quadrant of its caption."""
        inside = torch.special.ndtr(means * CLOUDS.sign() / self.spread)
        return float(inside.prod(-1).mean())

    def distance(self, means: Tensor) -> float:
        """Return the mean distance from the denoiser's means to the clouds'."""
        return float((means - CLOUDS).norm(dim=-1).mean())
