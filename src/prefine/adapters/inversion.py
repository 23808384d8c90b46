"""Inverted noise: what a policy would have to start from to draw a sample.

Random noise at a time is seen with any sample; the noise that belongs to a sample is found by
walking from it towards noise along the policy's own predictions (DDIM inversion), and mended once
by the prediction at the place that was reached (ReNoise). Nothing here is differentiated.

Source: DDIM inversion: Song et al. 2021, arXiv:2010.02502; ReNoise: Garibi et al. 2024,
arXiv:2403.14602; as a draw for preferences: SmPO-Diffusion, arXiv:2506.02698.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from prefine.adapters.denoising import Denoising

Told = Callable[[Tensor, Tensor], Tensor]
"""`told(noised, time)`: a model's prediction about noised samples [M, ...] at times [M]."""


@torch.no_grad()
def inverted(process: "Denoising", sample: Tensor, told: Told, end: Tensor) -> Tensor:
    """Return the noise [M, ...] that takes samples to where inversion reaches.

    Args:
        process: Mixes samples and noise; its `inversion_steps` are walked in equal parts of time.
        sample: [M, ...] samples.
        told: The policy as it is now.
        end: [M] times to reach.
    """
    here, now = sample, torch.zeros_like(end)
    before = here, now
    for step in range(1, process.inversion_steps + 1):
        then = (end * step / process.inversion_steps).to(end.dtype)
        before = here, now
        here = _moved(process, here, process.noise_told(told(here, now), here, now), now, then)
        now = then
    mended = process.noise_told(told(here, end), here, end)
    here = _moved(process, before[0], mended, before[1], end)
    signal, rest = process.shares(sample, end)
    return (here - signal * sample) / rest.clamp_min(torch.finfo(rest.dtype).tiny)


def _moved(
    process: "Denoising", noised: Tensor, noise: Tensor, now: Tensor, then: Tensor
) -> Tensor:
    """Samples at another time, if this is their noise."""
    signal, rest = process.shares(noised, now)
    return process.noised((noised - rest * noise) / signal, noise, then)
