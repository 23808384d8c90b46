"""Every family of diffusers: loaded, called as its own pipeline calls it, saved, sampled."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.models.tiny_pictures import PIPELINES, SIDE, made

from prefine.adapters import bind
from prefine.adapters.denoisers import BY_PIPELINE
from prefine.errors import ConfigError
from prefine.models.pictures import (
    PictureModel,
    PixelSpace,
    is_picture_model,
    load_picture_model,
)
from prefine.scores import Needs

pytest.importorskip("diffusers")

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

CAPTIONS = ["a cat", "a dog"]
each = pytest.mark.parametrize("family", sorted(PIPELINES))


def pictures(count: int = 2) -> list[Any]:
    from PIL import Image

    rng = np.random.default_rng(0)
    return [
        Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)) for _ in range(count)
    ]


def of(family: str) -> PictureModel:
    return PictureModel(made(family), resolution=SIDE)


def row(model: PictureModel) -> dict[str, Any]:
    conditions, latents = model.conditions(CAPTIONS), model.latents(pictures())
    return {
        "record": "r", "roles": ["chosen", "rejected"], "sample": list(latents), "seed": 5,
        "condition": [conditions[0], conditions[0]],
    }  # fmt: skip


def test_the_same_families_are_known_everywhere() -> None:
    assert set(PIPELINES) == set(BY_PIPELINE)


@each
def test_what_was_saved_loads_and_scores_alike(family: str, tmp_path: Path) -> None:
    first = of(family)
    first.save(tmp_path / "model")
    assert is_picture_model(str(tmp_path / "model"))
    again = load_picture_model(str(tmp_path / "model"), resolution=SIDE)
    assert again.family == family
    values = []
    for model in (first, again):
        adapter = model.adapter(draws=2)
        batch = adapter.collate([row(model)])
        draw = adapter.draw(batch, model.denoiser)
        values.append(
            bind(model.denoiser.eval(), adapter)(batch=batch, draw=draw, needs=Needs()).value
        )
    assert torch.equal(values[0], values[1])
    assert values[0].isfinite().all()


@each
def test_the_denoiser_is_called_as_its_pipeline_calls_it(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One step of the pipeline and one call of ours: equal inputs, equal predictions."""
    model = of(family)
    seen: list[dict[str, Any]] = []
    plain = model.denoiser.forward

    def watched(*args: Any, **kwargs: Any) -> Any:
        found = plain(*args, **kwargs)
        seen.append({"args": args, "kwargs": kwargs, "found": found[0]})
        return found

    monkeypatch.setattr(model.denoiser, "forward", watched)
    guidance = 3.5 if family == "FluxPipeline" else 1.0
    model.sample(CAPTIONS[:1], [3], steps=1, guidance=guidance)
    monkeypatch.undo()
    call = seen[0]
    given = {**call["kwargs"]}
    names = ("hidden_states", "timestep")
    if call["args"]:
        noised, time = (
            call["args"][:2] if len(call["args"]) > 1 else (call["args"][0], given["timestep"])
        )
    else:
        noised, time = (given[name] for name in names)
    condition = {
        name: torch.from_numpy(np.asarray(value))[None]
        for name, value in model.conditions(CAPTIONS[:1])[0].items()
    }
    if family == "FluxPipeline":
        height = SIDE // 2
        squares = noised.view(1, height // 2, height // 2, 4, 2, 2)
        noised, time = squares.permute(0, 3, 1, 4, 2, 5).reshape(1, 4, height, height), time * 1000
    if family == "DiTPipeline":  # guided: the second half of the batch is told nothing
        noised = noised[:1]
    time = torch.as_tensor(time).reshape(-1)[:1].expand(len(noised))
    with torch.no_grad():
        ours = BY_PIPELINE[family](plain, noised, time, condition)
    theirs = call["found"]
    if family == "FluxPipeline":
        squares = theirs.view(1, height // 2, height // 2, 4, 2, 2)
        theirs = squares.permute(0, 3, 1, 4, 2, 5).reshape(ours.shape)
    assert torch.allclose(ours, theirs[:1, : ours.shape[1]], atol=1e-5)


@each
def test_pictures_come_from_their_seeds(family: str) -> None:
    model = of(family)
    first, second = model.sample(CAPTIONS, [1, 2], steps=2)
    (again,) = model.sample(CAPTIONS[:1], [1], steps=2)
    assert first.size == (SIDE, SIDE)
    assert np.abs(np.asarray(first).astype(int) - np.asarray(again)).max() <= 1
    assert (np.asarray(first) != np.asarray(second)).any()


def test_latents_are_the_scaled_mean_of_the_autoencoder() -> None:
    model = of("StableDiffusion3Pipeline")
    vae = model.pipeline.vae
    pixels = np.stack([np.asarray(picture) for picture in pictures()])
    tensor = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        mean = vae.encode(tensor).latent_dist.mean
    expected = (mean - vae.config.shift_factor) * vae.config.scaling_factor
    assert np.allclose(model.latents(pictures()), expected.numpy(), atol=1e-5)


def test_a_model_of_pixels_needs_no_autoencoder(tmp_path: Path) -> None:
    from prefine.ledger.worlds.sprites import CAPTIONS as KNOWN
    from prefine.ledger.worlds.sprites import untrained

    PictureModel(untrained(0)).save(tmp_path / "model")
    said = json.loads((tmp_path / "model" / "model_index.json").read_text())
    assert said["vae"] == [None, None]
    model = load_picture_model(str(tmp_path / "model"))
    assert isinstance(model.pipeline.vae, PixelSpace)
    assert model.latents(pictures()).min() >= -1
    (drawn,) = model.sample(KNOWN[:1], [0], steps=2)
    assert drawn.size == (16, 16)
    with pytest.raises(ConfigError, match="draws 16 classes, and 'a unicorn' is none"):
        model.conditions(["a unicorn"])


def test_other_folders_are_no_picture_models(tmp_path: Path) -> None:
    assert not is_picture_model(str(tmp_path))
    assert not is_picture_model("no/such-model-anywhere")
    (tmp_path / "model_index.json").write_text("{}")
    with pytest.raises(ConfigError, match="could not load it"):
        load_picture_model(str(tmp_path))
