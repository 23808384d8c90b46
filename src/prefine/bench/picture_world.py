"""The denoiser, latents and captions of the picture case: made from a seed, nothing is downloaded.

Both sides' processes use this file; it imports nothing of prefine.
"""

from typing import Any

PRESETS: dict[str, dict[str, Any]] = {
    "unet": {"block_out_channels": (64, 128, 256), "cross_attention_dim": 256, "side": 32},
    "tiny_unet": {"block_out_channels": (8, 16, 16), "cross_attention_dim": 16, "side": 8},
}
"""Shapes of Stable Diffusion's denoiser: three levels, attention to the caption in two of them."""

TOKENS = 77
"""Tokens of a caption, all of which are attended to."""

BETA = 2500.0
"""Strength in the example's units, which has no half in front: ours is twice that."""

Draw = tuple[Any, Any]
"""Time [] and noise [C, H, W] of a pair."""


def make_model(case: dict[str, Any], seed: int = 1234) -> Any:
    """Return the denoiser of a case, with adapters whose second halves start at 0."""
    import torch
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from peft import LoraConfig, get_peft_model

    shape = dict(PRESETS[case["preset"]])
    torch.manual_seed(seed)
    with torch.device(case["device"]):
        model = UNet2DConditionModel(
            sample_size=shape.pop("side"), in_channels=4, out_channels=4, layers_per_block=1,
            down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
            norm_num_groups=8, attention_head_dim=8, **shape,
        )  # fmt: skip
    lora = LoraConfig(r=16, lora_alpha=16, target_modules=["to_q", "to_k", "to_v", "to_out.0"])
    adapted = get_peft_model(model, lora)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(99)
    with torch.no_grad():
        for name, weight in sorted(adapted.named_parameters()):
            if "lora_A" in name:
                weight.copy_(0.05 * torch.randn(weight.shape, generator=generator))
    return adapted


def make_scheduler() -> Any:
    """Return Stable Diffusion's way of mixing in noise."""
    from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

    return DDPMScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, num_train_timesteps=1000
    )


def make_pairs(case: dict[str, Any], steps: int) -> tuple[Any, Any]:
    """Return latents [P, 2, 4, S, S], the chosen first, and captions [P, T, D] of all steps."""
    import torch

    shape, count = PRESETS[case["preset"]], case["prompts"] * steps
    generator = torch.Generator().manual_seed(7)
    side = shape["side"]
    latents = torch.randn(count, 2, 4, side, side, generator=generator)
    return latents, torch.randn(count, TOKENS, shape["cross_attention_dim"], generator=generator)


def drawn(number: int, like: Any) -> Draw:
    """Return time and noise of a pair, by its number."""
    import torch

    generator = torch.Generator().manual_seed(1000 + number)
    time = torch.randint(1000, (), generator=generator)
    return time, torch.randn(like.shape, generator=generator)


def owned_bytes(model: Any) -> int:
    """Return the bytes of a model's weights, and of gradients and AdamW's state if trained."""
    return sum(
        p.numel() * p.element_size() * (4 if p.requires_grad else 1) for p in model.parameters()
    )
