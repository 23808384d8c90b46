"""Pictures of a few held-out captions, drawn before and after training from the same seeds."""

import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prefine.training.plan import Plan

STEPS = 30
"""Denoising steps of a picture in a report."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A caption and its picture.

    Attributes:
        caption: What was asked for.
        picture: Bytes of a PNG.
    """

    caption: str
    picture: bytes


def draw_shown(plan: "Plan", count: int) -> list[Shown]:
    """Draw pictures of the first `count` captions that are held out (or trained on)."""
    if plan.pictures is None or count == 0:
        return []
    captions = _captions(plan, count)
    seeds = [plan.config.seed + at for at in range(len(captions))]
    guidance = plan.denoising.guidance
    pictures = plan.pictures.sample(captions, seeds, steps=STEPS, guidance=guidance)
    return [Shown(text, png(one)) for text, one in zip(captions, pictures, strict=True)]


def png(picture: Any) -> bytes:
    """Return a PIL picture as a PNG; a very small one is enlarged, point by point."""
    from PIL.Image import Resampling

    factor = max(1, 128 // max(picture.size))
    size = (picture.width * factor, picture.height * factor)
    buffer = io.BytesIO()
    picture.convert("RGB").resize(size, Resampling.NEAREST).save(buffer, format="PNG")
    return buffer.getvalue()


def _captions(plan: "Plan", count: int) -> list[str]:
    view = plan.data.held_out_view or plan.data.train_view
    found: dict[str, None] = {}
    for row in view.rows:
        messages = json.loads(row["prompts"][0])["messages"]
        text = [message["content"] for message in messages if isinstance(message["content"], str)]
        found["\n".join(text)] = None
        if len(found) == count:
            break
    return list(found)
