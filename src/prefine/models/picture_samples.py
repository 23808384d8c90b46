"""Draw pictures with a model, and record what was drawn."""

from collections.abc import Sequence
from pathlib import Path

from prefine.models.pictures import load_picture_model
from prefine.records import Records
from prefine.records.message import Message, Part
from prefine.records.schema import Candidate, Origin, Record, Source


def draw_pictures(
    model: str, captions: Sequence[str], out: Path, *, count: int = 1, seed: int = 0,
    steps: int = 50, guidance: float | None = None, batch_size: int = 8, progress: bool = False,
) -> int:  # fmt: skip
    """Draw `count` pictures of each caption into a folder, beside `records.jsonl`.

    The k-th picture of every caption comes from seed + k: models can be compared picture by
    picture.

    Args:
        model: Hub name or folder of a pipeline, or of a LoRA of one.
        captions: Prompts.
        out: Folder; made if it is not there.
        count: Pictures a caption.
        seed: Of the first.
        steps: Denoising steps.
        guidance: Scale of classifier-free guidance; None for the pipeline's own.
        batch_size: Pictures at once.
        progress: Show a progress bar.

    Returns:
        How many pictures were drawn.
    """
    from tqdm import tqdm

    pipeline = load_picture_model(model)
    out.mkdir(parents=True, exist_ok=True)
    wanted = [(at, k) for at in range(len(captions)) for k in range(count)]
    for start in tqdm(range(0, len(wanted), batch_size), disable=not progress):
        part = wanted[start : start + batch_size]
        pictures = pipeline.sample(
            [captions[at] for at, _ in part], [seed + k for _, k in part], steps=steps,
            guidance=guidance,
        )  # fmt: skip
        for (at, k), picture in zip(part, pictures, strict=True):
            picture.save(out / _name(at, k))
    sampling = {"steps": steps, **({} if guidance is None else {"guidance": guidance})}
    origin = Path(model).name if Path(model).exists() else model
    records = [
        Record(
            source=Source("generate", row=at),
            context=(Message("user", caption),),
            candidates=tuple(
                Candidate(
                    f"c{k}",
                    (Message("assistant", (Part("image", uri=_name(at, k)),)),),
                    origin=Origin("model", model=origin, sampling={**sampling, "seed": seed + k}),
                )
                for k in range(count)
            ),
        )
        for at, caption in enumerate(captions)
    ]
    Records.of(records).save(out / "records.jsonl")
    return len(wanted)


def _name(at: int, k: int) -> str:
    return f"{at:05d}-{k:02d}.png"
