"""Diffusion: a sample is mixed with noise, and the model predicts the noise, or what tells it."""

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from prefine.adapters.denoising import Denoising
from prefine.errors import ConfigError

Prediction = Literal["epsilon", "v_prediction", "sample"]

LARGEST_RATIO = 5.0
"""Signal-to-noise ratio above which times weigh no more under `min_snr`, as its authors set it."""


@dataclass(frozen=True, kw_only=True)
class Diffusion(Denoising):
    r"""Scores under :math:`x_t = \sqrt{\bar\alpha_t}\,x_0 + \sqrt{1-\bar\alpha_t}\,\epsilon`.

    Attributes:
        alphas: :math:`\bar\alpha_t` of the T time steps.
        prediction: What the model predicts: the noise (`epsilon`), the velocity
            :math:`\sqrt{\bar\alpha_t}\,\epsilon - \sqrt{1-\bar\alpha_t}\,x_0` (`v_prediction`), or
            the `sample`.
        time_weight: Factor of the squared error: `constant`, or `min_snr`, which is the least of
            the signal-to-noise ratio and 5 in terms of the sample's error: it weighs down times at
            which little noise is left.

    Source:
        Ho et al. 2020, arXiv:2006.11239; velocity: Salimans and Ho 2022, arXiv:2202.00512; weights:
        Hang et al. 2023, arXiv:2303.09556.

    Example:
        >>> process = Diffusion(alphas=torch.tensor([0.64]))
        >>> process.noised(torch.ones(1, 1), torch.ones(1, 1), torch.tensor([0]))
        tensor([[1.4000]])
    """

    alphas: Tensor = field(repr=False)
    prediction: Prediction = "epsilon"
    time_weight: Literal["constant", "min_snr"] = "constant"

    name: ClassVar[str] = "diffusion"

    @classmethod
    def of(cls, scheduler: Any, **options: Any) -> "Diffusion":
        """Take the terms from a scheduler of diffusers.

        Raises:
            ConfigError: If it has no `alphas_cumprod`, or predicts what is not known here.
        """
        alphas = getattr(scheduler, "alphas_cumprod", None)
        prediction = scheduler.config.get("prediction_type", "epsilon")
        kind = type(scheduler).__name__
        if alphas is None:
            raise ConfigError(
                f"The scheduler {kind} has no alphas_cumprod, so how it mixes a sample with noise "
                "is not known. Put one that has them, such as DDPMScheduler, into the folder."
            )
        if prediction not in ("epsilon", "v_prediction", "sample"):
            raise ConfigError(
                f"The scheduler {kind} says prediction_type={prediction!r}; known are epsilon, "
                "v_prediction and sample."
            )
        return cls(alphas=alphas.detach().cpu().double(), prediction=prediction, **options)

    def times(self, uniform: Tensor) -> Tensor:
        """Return whole time steps from 0 to T - 1, all equally likely."""
        return (uniform * len(self.alphas)).long()

    def target(self, sample: Tensor, noise: Tensor, time: Tensor) -> Tensor:
        """Return the noise, the velocity or the sample."""
        if self.prediction == "epsilon":
            return noise
        if self.prediction == "sample":
            return sample
        signal, rest = self.shares(sample, time)
        return signal * noise - rest * sample

    def weight_at(self, time: Tensor) -> Tensor:
        """Return 1, or the least of the signal-to-noise ratio and 5, in the prediction's terms."""
        share = self.alphas.to(time.device)[time]
        if self.time_weight == "constant":
            return torch.ones_like(share)
        ratio = share / (1 - share)
        if self.prediction == "epsilon":  # its error is that of the sample times the ratio
            return (LARGEST_RATIO / ratio).clamp_max(1)
        least = ratio.clamp_max(LARGEST_RATIO)
        return least if self.prediction == "sample" else least / (ratio + 1)

    def noise_told(self, found: Tensor, noised: Tensor, time: Tensor) -> Tensor:
        """Return the predicted noise."""
        if self.prediction == "epsilon":
            return found
        signal, rest = self.shares(noised, time)
        if self.prediction == "sample":
            return (noised - signal * found) / rest
        return rest * noised + signal * found

    def shares(self, like: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        """Return the square roots of the share of the sample and of the rest."""
        share = self.alphas.to(time.device)[time]
        shape = (-1, *[1] * (like.ndim - 1))
        return (
            share.sqrt().to(like.dtype).view(shape),
            (1 - share).sqrt().to(like.dtype).view(shape),
        )

    def fingerprint(self) -> dict[str, Any]:
        """Fields that change a score."""
        terms = torch.stack([self.alphas.mean(), self.alphas.square().mean()]).tolist()
        return super().fingerprint() | {
            "alphas": terms, "prediction": self.prediction,
            "time_weight": self.time_weight,
        }  # fmt: skip
