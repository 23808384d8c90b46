"""What others load of picture models: pipelines, and adapters in diffusers' own format."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.models.tiny_pictures import PIPELINES, SIDE, made

from prefine.errors import ConfigError
from prefine.models import export_model
from prefine.models.picture_export import LORA, write_lora
from prefine.models.pictures import PictureModel, load_picture_model

pytest.importorskip("diffusers")

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

OF_TEXT = sorted(set(PIPELINES) - {"DiTPipeline"})


def adapted(family: str, home: Path) -> Path:
    """A folder of adapters that do something, as a run writes it, beside its base."""
    from peft import LoraConfig, get_peft_model

    base, folder = home / "base", home / "lora"
    model = PictureModel(made(family), resolution=SIDE)
    model.save(base)
    torch.manual_seed(1)
    settings = LoraConfig(r=4, lora_alpha=10, target_modules="all-linear")
    lora: Any = get_peft_model(model.denoiser, settings)  # type: ignore[arg-type]
    for name, weight in lora.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.2)
    lora.save_pretrained(folder)
    card = folder / "adapter_config.json"
    said = json.loads(card.read_text(encoding="utf-8")) | {"base_model_name_or_path": str(base)}
    card.write_text(json.dumps(said), encoding="utf-8")
    assert write_lora(model, lora, folder) == (family != "DiTPipeline")
    return folder


def linear_weights(denoiser: torch.nn.Module) -> torch.Tensor:
    """Every linear layer with its adapter folded in, one after the other."""
    layers = [m for m in denoiser.modules() if isinstance(m, torch.nn.Linear)]
    return torch.cat([layer.weight.detach().flatten() for layer in layers])


@pytest.mark.parametrize("family", OF_TEXT)
def test_diffusers_loads_adapters_with_their_strength(family: str, tmp_path: Path) -> None:
    folder = adapted(family, tmp_path)
    base = load_picture_model(str(tmp_path / "base"))
    theirs, part = base.pipeline, base.part
    before = linear_weights(base.denoiser)
    theirs.load_lora_weights(str(folder))
    theirs.fuse_lora()
    theirs.unload_lora_weights()
    ours = linear_weights(load_picture_model(str(folder)).denoiser)
    assert torch.allclose(linear_weights(getattr(theirs, part)), ours, atol=1e-6)
    assert not torch.allclose(before, ours, atol=1e-2), "the adapters do something"


PIXELS = """
import diffusers, numpy as np
base, lora = sys.argv[1:]
pipe = diffusers.DiffusionPipeline.from_pretrained(base)
pipe.set_progress_bar_config(disable=True)
if lora != "none":
    pipe.load_lora_weights(lora)
pictures = pipe("a cat", num_inference_steps=2, height=16, width=16, output_type="np",
                generator=torch.Generator().manual_seed(0)).images
print(json.dumps(np.asarray(pictures).ravel().tolist()))
"""


def test_merged_and_separate_adapters_draw_alike_without_prefine(
    alone: Callable[..., Any], tmp_path: Path
) -> None:
    folder = adapted("StableDiffusionPipeline", tmp_path)
    merged = export_model(str(folder), tmp_path / "merged", merge=True)
    apart = export_model(str(folder), tmp_path / "apart")
    assert merged.kind == "picture model (StableDiffusionPipeline)"
    assert LORA in apart.files
    assert any("nobody else can load" in note for note in apart.notes), "its base is a local folder"
    one = torch.tensor(alone(PIXELS, tmp_path / "merged", "none"))
    other = torch.tensor(alone(PIXELS, tmp_path / "base", tmp_path / "apart"))
    base = torch.tensor(alone(PIXELS, tmp_path / "base", "none"))
    assert torch.allclose(one, other, atol=1e-5)
    assert not torch.allclose(one, base, atol=1e-2)


def test_a_pipeline_without_loader_is_merged(tmp_path: Path) -> None:
    folder = adapted("DiTPipeline", tmp_path)
    kept = export_model(str(folder), tmp_path / "apart")
    assert LORA not in kept.files
    assert any("reads no adapters" in note for note in kept.notes)
    merged = export_model(str(folder), tmp_path / "merged", merge=True)
    assert "transformer/diffusion_pytorch_model.safetensors" in merged.files
    ours = load_picture_model(str(folder)).denoiser
    again = load_picture_model(str(tmp_path / "merged")).denoiser
    assert torch.equal(linear_weights(again), linear_weights(ours))


def test_a_whole_pipeline_is_copied_and_has_nothing_to_merge(tmp_path: Path) -> None:
    PictureModel(made("StableDiffusionPipeline"), resolution=SIDE).save(tmp_path / "base")
    (tmp_path / "base" / "unet" / "old.bin").write_bytes(b"pickle")
    written = export_model(str(tmp_path / "base"), tmp_path / "out")
    assert "unet/diffusion_pytorch_model.safetensors" in written.files
    assert not [name for name in written.files if name.endswith(".bin")]
    load_picture_model(str(tmp_path / "out"))
    with pytest.raises(ConfigError, match="nothing to merge"):
        export_model(str(tmp_path / "base"), tmp_path / "other", merge=True)
