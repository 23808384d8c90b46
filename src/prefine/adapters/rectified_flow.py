"""Rectified flow: a straight line from a sample to noise, and the model predicts its velocity."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from prefine.adapters.denoising import Denoising
from prefine.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class RectifiedFlow(Denoising):
    r"""Scores under :math:`x_t = (1-t)\,x_0 + t\,\epsilon`, t = 1 being noise.

    The target is the velocity :math:`\epsilon - x_0`.

    Attributes:
        density: How times are drawn: `uniform`, or `logit_normal`, the sigmoid of a standard
            normal number, which favours the middle.
        shift: s in t' = s t / (1 + (s - 1) t): more noise for larger samples; 1 for none.
        time_scale: What the model takes for t = 1.
        time_weight: Factor of the squared error: `constant`, or `(1-t)^2`.

    Source:
        Liu et al. 2022, arXiv:2209.03003; density and shift: Esser et al. 2024, arXiv:2403.03206;
        (1 - t)^2 or constant under preferences: Liu et al. 2025, arXiv:2501.13918.

    Example:
        >>> flow = RectifiedFlow()
        >>> flow.noised(torch.ones(1, 1), torch.zeros(1, 1), torch.tensor([0.25]))
        tensor([[0.7500]])
    """

    density: Literal["uniform", "logit_normal"] = "uniform"
    shift: float = 1.0
    time_scale: float = 1.0
    time_weight: Literal["constant", "(1-t)^2"] = "constant"

    name: ClassVar[str] = "rectified_flow"

    @classmethod
    def of(cls, scheduler: Any, **options: Any) -> "RectifiedFlow":
        """Take shift and scale from a flow-matching scheduler of diffusers.

        A shift that depends on the size of a picture (`use_dynamic_shifting`) is one of sampling,
        not of training, and is left out.

        Raises:
            ConfigError: If it is not one of flow matching.
        """
        config = scheduler.config
        if "shift" not in config:
            raise ConfigError(
                f"The scheduler {type(scheduler).__name__} is not one of flow matching: it has no "
                "shift."
            )
        shift = 1.0 if config.get("use_dynamic_shifting") else float(config["shift"])
        scale = float(config["num_train_timesteps"])
        return cls(**{"density": "logit_normal", "shift": shift, "time_scale": scale, **options})

    def times(self, uniform: Tensor) -> Tensor:
        """Return times in [0, 1]."""
        time = torch.special.ndtri(uniform).sigmoid() if self._favours_middle else uniform
        return (self.shift * time / (1 + (self.shift - 1) * time)).float()

    @property
    def _favours_middle(self) -> bool:
        return self.density == "logit_normal"

    def shares(self, like: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        """Return 1 - t and t."""
        share = time.to(like.dtype).view(-1, *[1] * (like.ndim - 1))
        return 1 - share, share

    def target(self, sample: Tensor, noise: Tensor, time: Tensor) -> Tensor:
        """Return the velocity."""
        return noise - sample

    def noise_told(self, found: Tensor, noised: Tensor, time: Tensor) -> Tensor:
        """Return the noise at the end of the predicted velocity."""
        return noised + self.shares(noised, time)[0] * found

    def model_time(self, time: Tensor) -> Tensor:
        """Return times in the model's scale."""
        return time * self.time_scale

    def weight_at(self, time: Tensor) -> Tensor:
        """Return 1, or (1 - t)^2."""
        return (1 - time).square() if self.time_weight == "(1-t)^2" else torch.ones_like(time)

    def fingerprint(self) -> dict[str, Any]:
        """Fields that change a score."""
        return super().fingerprint() | {
            "density": self.density, "shift": self.shift, "time_scale": self.time_scale,
            "time_weight": self.time_weight,
        }  # fmt: skip
