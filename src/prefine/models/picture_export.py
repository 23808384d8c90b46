"""Picture models for other programs: pipelines as diffusers loads them, LoRA in its own format."""

import shutil
from pathlib import Path
from typing import Any

from prefine.errors import ConfigError
from prefine.models.folder import RUNS_CODE
from prefine.models.pictures import PictureModel, load_picture_model

LORA = "pytorch_lora_weights.safetensors"
"""What diffusers' `load_lora_weights` looks for."""


def write_lora(model: PictureModel, adapted: Any, folder: Path) -> bool:
    """Write the adapters of a denoiser as `load_lora_weights` of its pipeline reads them.

    Args:
        model: The pipeline.
        adapted: Its denoiser with peft adapters.
        folder: Gets one more file.

    Returns:
        Whether it was written: pipelines of classes (DiT) read no adapters.
    """
    from peft.utils import get_peft_model_state_dict

    save = getattr(model.pipeline, "save_lora_weights", None)
    if save is None:
        return False
    weights = {
        name.removeprefix("base_model.model."): tensor
        for name, tensor in get_peft_model_state_dict(adapted).items()
    }
    save(
        str(folder),
        safe_serialization=True,
        **{
            f"{model.part}_lora_layers": weights,
            f"{model.part}_lora_adapter_metadata": adapted.peft_config["default"].to_dict(),
        },
    )
    return True


def export_pictures(source: Path, part: Path, *, merge: bool) -> tuple[str, list[str]]:
    """Write a pipeline, or adapters of one.

    Args:
        source: Folder of a pipeline or of adapters.
        part: Folder to fill.
        merge: Fold adapters into their base.

    Returns:
        What it is, in words, and what whoever loads it must know.

    Raises:
        ConfigError: If there is nothing to merge.
    """
    adapters = (source / "adapter_config.json").is_file()
    if merge and not adapters:
        raise ConfigError(f"{source} holds a whole pipeline: there is nothing to merge.")
    if merge:
        model = load_picture_model(str(source))
        model.save(part)
        for card in source.glob("README.md"):
            shutil.copyfile(card, part / card.name)
        return f"picture model ({model.family})", []
    for path in sorted(source.rglob("*")):
        target = part / path.relative_to(source)
        if path.is_dir():
            target.mkdir(parents=True, exist_ok=True)
        elif path.suffix not in (*RUNS_CODE, ".part"):
            shutil.copyfile(path, target)
    if not adapters:
        return "picture model", []
    if (part / LORA).is_file():
        return "adapters of a picture model", [f"{LORA} is for load_lora_weights of diffusers"]
    return "adapters of a picture model", ["its pipeline reads no adapters: peft does, or --merge"]
