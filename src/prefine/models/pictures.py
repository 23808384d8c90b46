"""Picture models: folders of diffusers, loaded safely and taken apart."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from prefine.adapters.denoisers import BY_PIPELINE
from prefine.adapters.denoising import Denoising
from prefine.adapters.diffusion import Diffusion
from prefine.adapters.rectified_flow import RectifiedFlow
from prefine.errors import ConfigError
from prefine.extras import require

INDEX = "model_index.json"
"""The file that tells a folder of diffusers from one of transformers."""

GUIDANCE = 3.5
"""What a model distilled with guidance is told while it is trained."""

Condition = dict[str, NDArray[Any]]


def is_picture_model(name: str, revision: str | None = None) -> bool:
    """Whether a folder or a Hub name holds a pipeline of diffusers."""
    if Path(name).exists():
        base = adapters_stand_on(name)
        return (Path(name) / INDEX).is_file() or (base is not None and is_picture_model(base))
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError

    try:
        hf_hub_download(name, INDEX, revision=revision)
    except (EntryNotFoundError, HFValidationError, HfHubHTTPError, OSError):
        return False  # if it is nothing at all, whoever loads it as a language model says so
    return True


def adapters_stand_on(name: str) -> str | None:
    """The model that a LoRA folder belongs to; None if it is no such folder."""
    path = Path(name) / "adapter_config.json"
    if not path.is_file():
        return None
    base = json.loads(path.read_text(encoding="utf-8")).get("base_model_name_or_path")
    return None if base in (None, name) else str(base)


def _left_out(name: str, revision: str | None) -> dict[str, None]:
    """Parts that a pipeline can do without and its folder has not, as diffusers wants them said."""
    from huggingface_hub import hf_hub_download

    path = Path(name) / INDEX
    if not path.is_file():
        path = Path(hf_hub_download(name, INDEX, revision=revision))
    said = json.loads(path.read_text(encoding="utf-8"))
    return {part: None for part, where in said.items() if where == [None, None]}


class PixelSpace(nn.Module):
    """Stands where a pipeline has an autoencoder, for models whose latents are pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.config = SimpleNamespace(
            scaling_factor=1.0, shift_factor=0.0, block_out_channels=(1,), force_upcast=False
        )
        self.place: Tensor
        self.register_buffer("place", torch.zeros(()), persistent=False)

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return self.place.device

    @property
    def dtype(self) -> torch.dtype:
        """What it computes in."""
        return self.place.dtype

    def decode(self, latents: Tensor, **_: Any) -> Any:
        """Return latents as they are."""
        return SimpleNamespace(sample=latents)


def load_picture_model(
    name: str, *, dtype: str = "float32", revision: str | None = None,
    resolution: int | None = None,
) -> "PictureModel":  # fmt: skip
    """Load a pipeline of diffusers by Hub name or folder: safetensors alone, no foreign code.

    A LoRA folder comes merged into its base.

    Args:
        name: Hub name or folder.
        dtype: Precision of the weights.
        revision: Branch, tag or commit on the Hub.
        resolution: Height and width of pictures, pixels; None for the model's own.

    Raises:
        ConfigError: If it cannot be loaded, or its family is not known.
        MissingExtraError: If diffusers is not installed.
    """
    base = adapters_stand_on(name)
    if base is not None:
        return _merged(load_picture_model(base, dtype=dtype, resolution=resolution), name)
    diffusers = require("diffusers", extra="pictures")
    kind = torch.float32 if dtype == "auto" else getattr(torch, dtype)
    try:
        pipeline = diffusers.DiffusionPipeline.from_pretrained(
            name, dtype=kind, revision=revision, use_safetensors=True, trust_remote_code=False,
            **_left_out(name, revision),
        )  # fmt: skip
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise ConfigError(f"model {name!r}: diffusers could not load it. {error}") from error
    family = type(pipeline).__name__
    if family not in BY_PIPELINE:
        raise ConfigError(
            f"model {name!r}: pictures of {family} are not known here. Known: "
            f"{', '.join(sorted(BY_PIPELINE))}."
        )
    pipeline.set_progress_bar_config(disable=True)
    return PictureModel(pipeline, resolution)


def _merged(model: "PictureModel", folder: str) -> "PictureModel":
    from peft import PeftModel

    adapted: Any = PeftModel.from_pretrained(model.denoiser, folder)  # type: ignore[arg-type]
    setattr(model.pipeline, model.part, adapted.merge_and_unload())
    return model


@dataclass(frozen=True)
class PictureModel:
    """A pipeline of diffusers: a denoiser, what encodes for it, and how noise is mixed in.

    Attributes:
        pipeline: As diffusers loads it; it samples pictures.
        resolution: Height and width of pictures, pixels; None for the model's own.
    """

    pipeline: Any
    resolution: int | None = None

    def __post_init__(self) -> None:
        if getattr(self.pipeline, "vae", None) is None:
            self.pipeline.vae = PixelSpace()
        for module in self.encoders():
            module.requires_grad_(False).eval()

    @property
    def family(self) -> str:
        """Class of the pipeline."""
        return type(self.pipeline).__name__

    @property
    def part(self) -> str:
        """What the denoiser is called in the pipeline and in its folder."""
        return "unet" if hasattr(self.pipeline, "unet") else "transformer"

    @property
    def denoiser(self) -> nn.Module:
        """The model that is trained."""
        return getattr(self.pipeline, self.part)

    @property
    def has_autoencoder(self) -> bool:
        """Whether latents are something else than pictures."""
        return not isinstance(self.pipeline.vae, PixelSpace)

    @property
    def size(self) -> int:
        """Height and width of a picture, pixels."""
        if self.resolution is not None:
            return self.resolution
        config: Any = self.denoiser.config
        own = config.get("sample_size") or self.pipeline.default_sample_size
        factor = 2 ** (len(self.pipeline.vae.config.block_out_channels) - 1)
        return int(own) * factor

    @property
    def is_flow(self) -> bool:
        """Whether noise is mixed in on a straight line."""
        return "FlowMatch" in type(self.pipeline.scheduler).__name__

    def adapter(self, **options: Any) -> Denoising:
        """Return the adapter of this model; options are its fields."""
        kind = RectifiedFlow if self.is_flow else Diffusion
        return kind.of(self.pipeline.scheduler, predict=BY_PIPELINE[self.family], **options)

    def knows(self, caption: str) -> bool:
        """Whether a caption can be drawn: a model of classes knows those alone."""
        return self.family != "DiTPipeline" or caption in self.pipeline.labels

    @torch.no_grad()
    def conditions(self, captions: Sequence[str]) -> list[Condition]:
        """Encode captions.

        Raises:
            ConfigError: For a model of classes, if a caption names none.
        """
        encoded = CONDITIONS[self.family](self, list(captions))
        arrays = {name: value.float() if value.is_floating_point() else value
                  for name, value in encoded.items()}  # fmt: skip
        return [
            {name: value[at].cpu().numpy() for name, value in arrays.items()}
            for at in range(len(captions))
        ]

    @torch.no_grad()
    def latents(self, pictures: Sequence[Any]) -> NDArray[np.float32]:
        """Encode PIL pictures [N] as latents [N, C, h, w]: cut to a square and resized.

        The autoencoder's mean is taken, not a sample of it: a picture is encoded once.
        """
        from PIL import ImageOps

        square = (self.size, self.size)
        fitted = [ImageOps.fit(picture.convert("RGB"), square) for picture in pictures]
        pixels = np.stack([np.asarray(picture, dtype=np.float32) for picture in fitted])
        tensor = torch.from_numpy(pixels / 127.5 - 1).permute(0, 3, 1, 2)
        if not self.has_autoencoder:
            return tensor.contiguous().numpy()
        vae = self.pipeline.vae
        mean = vae.encode(tensor.to(vae.device, vae.dtype)).latent_dist.mode().float()
        shift = getattr(vae.config, "shift_factor", None) or 0.0
        return ((mean - shift) * vae.config.scaling_factor).cpu().numpy()

    def sample(
        self, captions: Sequence[str], seeds: Sequence[int], *, steps: int = 50,
        guidance: float | None = None,
    ) -> list[Any]:  # fmt: skip
        """Return a PIL picture of each caption, from its own seed.

        Args:
            captions: [N] prompts.
            seeds: [N] seeds of the first noise; equal seeds and weights give equal pictures.
            steps: Denoising steps.
            guidance: Scale of classifier-free guidance; None for the pipeline's own.
        """
        options: dict[str, Any] = {
            "generator": [torch.Generator().manual_seed(seed) for seed in seeds],
            "num_inference_steps": steps,
        }
        if guidance is not None:
            options["guidance_scale"] = guidance
        if self.family == "DiTPipeline":
            options["class_labels"] = _label(self, list(captions))["label"].tolist()
        else:
            options |= {"prompt": list(captions), "height": self.size, "width": self.size}
        was_training = self.denoiser.training
        self.denoiser.eval()
        try:
            with torch.no_grad():
                return self.pipeline(**options).images
        finally:
            self.denoiser.train(was_training)

    def encoders(self) -> list[nn.Module]:
        """Return the frozen modules that encode captions and pictures."""
        named = {n: m for n, m in self.pipeline.components.items() if isinstance(m, nn.Module)}
        return [module for name, module in sorted(named.items()) if name != self.part]

    def save(self, folder: Path, denoiser: nn.Module | None = None) -> None:
        """Write the whole pipeline as diffusers reads it, with another denoiser where given."""
        if denoiser is not None:
            setattr(self.pipeline, self.part, denoiser)
        autoencoder = self.pipeline.vae
        if not self.has_autoencoder:
            self.pipeline.vae = None
        try:
            self.pipeline.save_pretrained(str(folder), safe_serialization=True)
        finally:
            self.pipeline.vae = autoencoder
        if self.family == "DiTPipeline":  # diffusers reads the names of classes and forgets them
            names = {str(number): name for name, number in self.pipeline.labels.items()}
            index = folder / INDEX
            said = json.loads(index.read_text(encoding="utf-8")) | {"id2label": names}
            index.write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")


def _text(model: PictureModel, captions: list[str]) -> Mapping[str, Tensor]:
    pipeline = model.pipeline
    found, _ = pipeline.encode_prompt(captions, pipeline.device, 1, False)
    return {"text": found}


def _text_xl(model: PictureModel, captions: list[str]) -> Mapping[str, Tensor]:
    pipeline = model.pipeline
    found, _, pooled, _ = pipeline.encode_prompt(
        prompt=captions, device=pipeline.device, num_images_per_prompt=1,
        do_classifier_free_guidance=False,
    )  # fmt: skip
    sizes = torch.tensor(
        [[model.size, model.size, 0, 0, model.size, model.size]] * len(captions), dtype=found.dtype
    )
    return {"text": found, "pooled": pooled, "time_ids": sizes}


def _text_3(model: PictureModel, captions: list[str]) -> Mapping[str, Tensor]:
    pipeline = model.pipeline
    found, _, pooled, _ = pipeline.encode_prompt(
        prompt=captions, prompt_2=None, prompt_3=None, device=pipeline.device,
        do_classifier_free_guidance=False,
    )  # fmt: skip
    return {"text": found, "pooled": pooled}


def _text_flux(model: PictureModel, captions: list[str]) -> Mapping[str, Tensor]:
    pipeline = model.pipeline
    found, pooled, _ = pipeline.encode_prompt(
        prompt=captions, prompt_2=None, device=pipeline.device
    )
    condition = {"text": found, "pooled": pooled}
    if pipeline.transformer.config.guidance_embeds:
        condition["guidance"] = torch.full((len(captions),), GUIDANCE)
    return condition


def _label(model: PictureModel, captions: list[str]) -> Mapping[str, Tensor]:
    pipeline = model.pipeline
    unknown = sorted(set(captions) - set(pipeline.labels))
    if unknown:
        raise ConfigError(
            f"The model draws {len(pipeline.labels)} classes, and {unknown[0]!r} is none of them."
        )
    return {"label": torch.tensor(pipeline.get_label_ids(captions))}


CONDITIONS: dict[str, Callable[[PictureModel, list[str]], Mapping[str, Tensor]]] = {
    "StableDiffusionPipeline": _text,
    "StableDiffusionXLPipeline": _text_xl,
    "DiTPipeline": _label,
    "StableDiffusion3Pipeline": _text_3,
    "FluxPipeline": _text_flux,
}
"""Class of a pipeline -> what its denoiser is told of captions."""
