"""How the families of denoisers are called: each has its own names for the same few things.

A condition is a mapping of tensors with N items along the first axis: `text` [N, L, D] embeddings
of a caption's tokens, `pooled` [N, P] of the whole caption, `label` [N] a class, `time_ids` [N, 6]
sizes and crop of SDXL, `guidance` [N] of distilled models.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from prefine.adapters.denoising import Predict

Condition = Mapping[str, Tensor]


def unet(forward: Any, noised: Tensor, time: Tensor, condition: Condition) -> Tensor:
    """Stable Diffusion 1 and 2."""
    return forward(noised, time, encoder_hidden_states=condition["text"], return_dict=False)[0]


def unet_xl(forward: Any, noised: Tensor, time: Tensor, condition: Condition) -> Tensor:
    """SDXL, which also knows the caption as a whole, and the size and crop of a picture."""
    more = {"text_embeds": condition["pooled"], "time_ids": condition["time_ids"]}
    return forward(
        noised, time, encoder_hidden_states=condition["text"], added_cond_kwargs=more,
        return_dict=False,
    )[0]  # fmt: skip


def dit(forward: Any, noised: Tensor, time: Tensor, condition: Condition) -> Tensor:
    """DiT, which knows a class; a learned variance in the second half of the channels is unused."""
    found = forward(noised, timestep=time, class_labels=condition["label"], return_dict=False)[0]
    return found[:, : noised.shape[1]]


def sd3(forward: Any, noised: Tensor, time: Tensor, condition: Condition) -> Tensor:
    """Stable Diffusion 3."""
    return forward(
        hidden_states=noised, timestep=time, encoder_hidden_states=condition["text"],
        pooled_projections=condition["pooled"], return_dict=False,
    )[0]  # fmt: skip


def flux(forward: Any, noised: Tensor, time: Tensor, condition: Condition) -> Tensor:
    """Flux: squares of two by two latents are tokens, whose places are given, times lie in [0, 1].

    Raises:
        ValueError: If height or width of the latents is odd.
    """
    count, channels, height, width = noised.shape
    if height % 2 or width % 2:
        raise ValueError(f"Flux takes latents of even size, got {height} x {width}.")
    squares = noised.view(count, channels, height // 2, 2, width // 2, 2)
    tokens = squares.permute(0, 2, 4, 1, 3, 5).reshape(count, -1, channels * 4)
    found = forward(
        hidden_states=tokens, timestep=time / 1000, guidance=condition.get("guidance"),
        encoder_hidden_states=condition["text"], pooled_projections=condition["pooled"],
        txt_ids=noised.new_zeros(condition["text"].shape[1], 3),
        img_ids=_places(height // 2, width // 2, noised), return_dict=False,
    )[0]  # fmt: skip
    squares = found.view(count, height // 2, width // 2, channels, 2, 2)
    return squares.permute(0, 3, 1, 4, 2, 5).reshape(noised.shape)


def _places(height: int, width: int, like: Tensor) -> Tensor:
    """[height * width, 3] zero, row and column of each token."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    places = torch.stack([torch.zeros_like(rows), rows, columns], dim=-1)
    return places.view(-1, 3).to(like)


BY_PIPELINE: dict[str, Predict] = {
    "StableDiffusionPipeline": unet,
    "StableDiffusionXLPipeline": unet_xl,
    "DiTPipeline": dit,
    "StableDiffusion3Pipeline": sd3,
    "FluxPipeline": flux,
}
"""Class of a pipeline of diffusers -> how its denoiser is called."""
