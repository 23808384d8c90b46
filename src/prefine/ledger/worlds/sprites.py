"""Sprites: pictures of 16 by 16 pixels with a caption, whose every attribute can be read off.

The truth: a sprite is one of four shapes in one of four colours, as its caption says, small or
large, in one of nine places on black. There are 288 of them, so what a picture shows is found by
looking for the nearest; how near it is says whether it is a sprite at all. Captions say nothing of
size: that is what people here have a taste for.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from prefine.adapters.denoisers import dit
from prefine.adapters.diffusion import Diffusion
from prefine.extras import require

SIDE = 16
SHAPES = ("square", "disk", "triangle", "cross")
COLOURS = {
    "red": (230, 40, 40), "green": (40, 200, 60), "blue": (60, 90, 240), "yellow": (240, 220, 40),
}  # fmt: skip
RADII = {"small": 2, "large": 4}
CENTRES = {"small": (4, 8, 11), "large": (5, 8, 10)}
"""Rows and columns where a sprite of each size may have its centre."""

VALID = 0.12
"""Largest root mean square distance of a picture to its sprite, of values from 0 to 1."""

UNTOLD, NO_CAPTION = 0.1, 1000
"""Share of pictures whose caption the base model is not told, and the class that says so."""

CAPTIONS = tuple(f"a {colour} {shape}" for colour in COLOURS for shape in SHAPES)
"""What a sprite may be called; the number of a caption is its class."""


@dataclass(frozen=True, slots=True)
class Sprite:
    """What a picture shows.

    Attributes:
        shape: One of `SHAPES`.
        colour: One of `COLOURS`.
        size: `small` or `large`.
        row: Row of its centre.
        column: Column of its centre.
    """

    shape: str
    colour: str
    size: str
    row: int
    column: int

    @property
    def caption(self) -> str:
        """What it is called.

        Example:
            >>> Sprite("disk", "red", "small", 8, 8).caption
            'a red disk'
        """
        return f"a {self.colour} {self.shape}"

    def pixels(self) -> NDArray[np.uint8]:
        """Return [16, 16, 3] values from 0 to 255."""
        radius = RADII[self.size]
        y, x = np.mgrid[:SIDE, :SIDE]
        y, x = y - self.row, x - self.column
        inside = {
            "square": np.maximum(abs(x), abs(y)) <= radius,
            "disk": x**2 + y**2 <= (radius + 0.3) ** 2,
            "triangle": (abs(y) <= radius) & (2 * abs(x) <= y + radius),
            "cross": (np.minimum(abs(x), abs(y)) <= radius // 3)
            & (np.maximum(abs(x), abs(y)) <= radius),
        }[self.shape]
        picture = np.zeros((SIDE, SIDE, 3), dtype=np.uint8)
        picture[inside] = COLOURS[self.colour]
        return picture


@cache
def every() -> tuple[Sprite, ...]:
    """Return all sprites.

    Example:
        >>> len(every())
        288
    """
    return tuple(
        Sprite(shape, colour, size, row, column)
        for shape in SHAPES
        for colour in COLOURS
        for size, centres in CENTRES.items()
        for row in centres
        for column in centres
    )


@cache
def _all_pixels() -> NDArray[np.float32]:
    """[sprites, 768] values from 0 to 1."""
    flat = np.stack([sprite.pixels().reshape(-1) for sprite in every()])
    return (flat / 255).astype(np.float32)


def drawn(rng: np.random.Generator, caption: str | None = None, size: str | None = None) -> Sprite:
    """Draw a sprite: caption and size first, each alike likely, then its place."""
    caption = str(rng.choice(CAPTIONS)) if caption is None else caption
    size = str(rng.choice(list(RADII))) if size is None else size
    fitting = _places()[caption, size]
    return fitting[int(rng.integers(len(fitting)))]


@cache
def _places() -> dict[tuple[str, str], list[Sprite]]:
    places: dict[tuple[str, str], list[Sprite]] = {}
    for sprite in every():
        places.setdefault((sprite.caption, sprite.size), []).append(sprite)
    return places


@dataclass(frozen=True, slots=True)
class Seen:
    """What pictures show, by the nearest sprite of each.

    Attributes:
        sprites: The nearest sprite of each picture.
        distance: [N] root mean square distance to it, of values from 0 to 1.
    """

    sprites: tuple[Sprite, ...]
    distance: NDArray[np.float32]

    def large(self) -> NDArray[np.bool_]:
        """[N] whether the sprite is large."""
        return np.array([sprite.size == "large" for sprite in self.sprites])

    def valid(self) -> NDArray[np.bool_]:
        """[N] whether the picture is a sprite at all."""
        return self.distance < VALID

    def as_told(self, captions: list[str]) -> NDArray[np.bool_]:
        """[N] whether a valid sprite is what the caption says."""
        named = [
            sprite.caption == said for sprite, said in zip(self.sprites, captions, strict=True)
        ]
        return self.valid() & np.array(named)


def look(pictures: Any) -> Seen:
    """Find the nearest sprite of each picture.

    Args:
        pictures: [N, 16, 16, 3] values from 0 to 255, or a list of PIL pictures.

    Example:
        >>> sprite = Sprite("cross", "blue", "large", 8, 5)
        >>> found = look([sprite.pixels()])
        >>> found.sprites[0] == sprite, bool(found.valid()[0])
        (True, True)
    """
    flat = np.stack([np.asarray(p, dtype=np.float32).reshape(-1) for p in pictures]) / 255
    known = _all_pixels()
    apart = (flat**2).sum(1)[:, None] - 2 * flat @ known.T + (known**2).sum(1)
    nearest = apart.argmin(1)
    distance = np.sqrt(np.maximum(apart[np.arange(len(flat)), nearest], 0) / flat.shape[1])
    return Seen(tuple(every()[at] for at in nearest), distance)


def untrained(seed: int) -> Any:
    """Return an untrained pipeline of diffusers: a small DiT that knows captions as classes."""
    diffusers = require("diffusers", extra="pictures")
    torch.manual_seed(seed)
    transformer = diffusers.DiTTransformer2DModel(
        num_layers=4, num_attention_heads=4, attention_head_dim=16, patch_size=4, in_channels=3,
        out_channels=3, sample_size=SIDE, norm_num_groups=1, num_embeds_ada_norm=NO_CAPTION,
        dropout=0.0,
    )  # fmt: skip
    scheduler = diffusers.DDIMScheduler(
        num_train_timesteps=1000, beta_schedule="squaredcos_cap_v2", prediction_type="sample",
        clip_sample=True, set_alpha_to_one=True,
    )  # fmt: skip
    return diffusers.DiTPipeline(transformer, None, scheduler, id2label=dict(enumerate(CAPTIONS)))


def base_pipeline(seed: int, *, steps: int = 4000, batch: int = 64) -> Any:
    """Return a pipeline that draws sprites of every size alike, trained in about two minutes."""
    pipeline = untrained(seed)
    model, process = pipeline.transformer.train(), Diffusion.of(pipeline.scheduler)
    pixels = torch.from_numpy(_all_pixels() * 2 - 1).view(-1, SIDE, SIDE, 3).permute(0, 3, 1, 2)
    label = torch.tensor([CAPTIONS.index(sprite.caption) for sprite in every()])
    share = torch.tensor([1.0 / len(_places()[s.caption, s.size]) for s in every()])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=steps)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        at = torch.multinomial(share, batch, replacement=True, generator=generator)
        sample, noise = pixels[at], torch.randn(batch, 3, SIDE, SIDE, generator=generator)
        time = process.times(torch.rand(batch, generator=generator))
        told = label[at].masked_fill(torch.rand(batch, generator=generator) < UNTOLD, NO_CAPTION)
        found = dit(model, process.noised(sample, noise, time), time, {"label": told})
        loss = (found - process.target(sample, noise, time)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    model.eval()
    return pipeline
