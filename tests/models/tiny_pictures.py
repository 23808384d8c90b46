"""Tiny random pipelines of every family of diffusers that is known here."""

from collections.abc import Callable
from typing import Any

import torch

SIDE = 16
"""Pixels of a picture; latents have half as many."""


def clip_tokenizer() -> Any:
    from transformers import CLIPTokenizer

    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    units = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    vocab = {unit: at for at, unit in enumerate(units)}
    return CLIPTokenizer(vocab=vocab, merges=[], model_max_length=16)


def t5_tokenizer() -> Any:
    from transformers import T5Tokenizer

    letters = [(chr(code), -3.0) for code in range(ord("a"), ord("z") + 1)]
    marks = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581", -2.0)]
    return T5Tokenizer(vocab=[*marks, *letters], extra_ids=0, model_max_length=16)


def clip_text(*, projection: bool = False, size: int = 16) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=54, hidden_size=size, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=2, max_position_embeddings=16, projection_dim=size, bos_token_id=52,
        eos_token_id=53, pad_token_id=53,
    )  # fmt: skip
    return (CLIPTextModelWithProjection if projection else CLIPTextModel)(config)


def t5_text() -> Any:
    from transformers import T5Config, T5EncoderModel

    return T5EncoderModel(
        T5Config(vocab_size=30, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
    )


def autoencoder(channels: int, **more: Any) -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(8, 8), latent_channels=channels, norm_num_groups=4, sample_size=SIDE,
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
        **more,
    )  # fmt: skip


def unet(**more: Any) -> Any:
    from diffusers import UNet2DConditionModel

    options = {
        "sample_size": 8, "block_out_channels": (8, 16), "layers_per_block": 1,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"), "cross_attention_dim": 16,
        "attention_head_dim": 8, "norm_num_groups": 4, **more,
    }  # fmt: skip
    return UNet2DConditionModel(**options)


def stable_diffusion(prediction: str = "epsilon") -> Any:
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    return StableDiffusionPipeline(
        autoencoder(4), clip_text(), clip_tokenizer(), unet(),
        DDIMScheduler(prediction_type=prediction, steps_offset=1, clip_sample=False),
        None, None, requires_safety_checker=False,
    )  # fmt: skip


def stable_diffusion_xl() -> Any:
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline

    denoiser = unet(
        cross_attention_dim=32, addition_embed_type="text_time", addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=16 + 6 * 8,
    )  # fmt: skip
    return StableDiffusionXLPipeline(
        autoencoder(4), clip_text(), clip_text(projection=True), clip_tokenizer(),
        clip_tokenizer(), denoiser, EulerDiscreteScheduler(),
    )  # fmt: skip


def stable_diffusion_3() -> Any:
    from diffusers import (
        FlowMatchEulerDiscreteScheduler,
        SD3Transformer2DModel,
        StableDiffusion3Pipeline,
    )

    transformer = SD3Transformer2DModel(
        sample_size=8, patch_size=2, in_channels=4, out_channels=4, num_layers=1,
        attention_head_dim=8, num_attention_heads=2, joint_attention_dim=32,
        caption_projection_dim=16, pooled_projection_dim=32,
    )  # fmt: skip
    return StableDiffusion3Pipeline(
        transformer, FlowMatchEulerDiscreteScheduler(shift=3.0), autoencoder(4, shift_factor=0.1),
        clip_text(projection=True), clip_tokenizer(), clip_text(projection=True),
        clip_tokenizer(), None, None,
    )  # fmt: skip


def flux(*, guidance: bool = True) -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel

    transformer = FluxTransformer2DModel(
        patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=8,
        num_attention_heads=2, joint_attention_dim=16, pooled_projection_dim=16,
        axes_dims_rope=(2, 2, 4), guidance_embeds=guidance,
    )  # fmt: skip
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True)
    return FluxPipeline(
        scheduler, autoencoder(4, shift_factor=0.1), clip_text(), clip_tokenizer(), t5_text(),
        t5_tokenizer(), transformer,
    )  # fmt: skip


def dit() -> Any:
    from diffusers import DDIMScheduler, DiTPipeline, DiTTransformer2DModel

    transformer = DiTTransformer2DModel(
        num_layers=1, num_attention_heads=2, attention_head_dim=8, patch_size=2, in_channels=4,
        out_channels=8, sample_size=8, norm_num_groups=1, num_embeds_ada_norm=1000,
    )  # fmt: skip
    return DiTPipeline(transformer, autoencoder(4), DDIMScheduler(), {0: "a cat", 1: "a dog"})


PIPELINES: dict[str, Callable[[], Any]] = {
    "StableDiffusionPipeline": stable_diffusion,
    "StableDiffusionXLPipeline": stable_diffusion_xl,
    "StableDiffusion3Pipeline": stable_diffusion_3,
    "FluxPipeline": flux,
    "DiTPipeline": dit,
}


def made(family: str, seed: int = 0) -> Any:
    """A pipeline with random weights; what is initialised to nought is not."""
    torch.manual_seed(seed)
    pipeline = PIPELINES[family]()
    denoiser = pipeline.unet if hasattr(pipeline, "unet") else pipeline.transformer
    with torch.no_grad():
        for parameter in denoiser.parameters():
            if not parameter.any():
                parameter.normal_(std=0.1)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
