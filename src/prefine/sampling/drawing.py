"""Responses to many prompts, kept as they are drawn, so that a kill costs one part of them."""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from prefine.errors import RunFolderError
from prefine.protocols import Rollouts
from prefine.records import Record, Records
from prefine.runs import entries
from prefine.storage import atomic_text, content_hash, json_hash, write_json

SETTINGS, DRAWN, RECORDS = "generate.json", "drawn.jsonl", "records.jsonl"
"""What was asked; what has been drawn so far; what came of it in the end."""

Sampler = Callable[..., Rollouts]
"""Called with records, `n` and `seed`."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """What is drawn.

    Attributes:
        model: What draws, as it was named.
        asked: Records whose contexts are the prompts.
        n: Responses to each.
        seed: Of all; each part of the prompts has its own, made from it.
        part: Prompts of a part; a sampler's `batch_size` wastes nothing.
        sampling: How responses are drawn, for their record.
    """

    model: str
    asked: Sequence[Record]
    n: int
    seed: int
    part: int
    sampling: Mapping[str, Any]

    def identity(self) -> dict[str, Any]:
        """What must be the same when a drawing goes on."""
        return {
            "model": self.model, "prompts": Records.of(self.asked).fingerprint, "n": self.n,
            "seed": self.seed, "part": self.part, "sampling": dict(self.sampling),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Drawn:
    """What came of it.

    Attributes:
        path: The file of records.
        prompts: How many were answered.
        responses: How many responses there are.
        cut: How many of them were cut at the most tokens.
    """

    path: Path
    prompts: int
    responses: int
    cut: int


def draw_responses(
    make_sampler: Callable[[], Sampler],
    drawing: Drawing,
    out: Path,
    *,
    resume: bool = False,
    progress: bool = False,
) -> Drawn:
    """Draw responses into `OUT/records.jsonl`; a part that was drawn is on disk before the next.

    A candidate has `stats.log_prob`, nats under what it was drawn from, its end included, and
    `stats.finished`, 0 where it was cut at the most tokens; `origin.sampling` says how it was
    drawn.

    Args:
        make_sampler: Makes what draws; not called if all was drawn before.
        drawing: What is drawn.
        out: Folder.
        resume: Go on with the drawing in `out`.
        progress: Show a progress bar.

    Raises:
        RunFolderError: If the folder is not empty and `resume` is false, or holds another drawing.
        RecordError: If a prompt cannot be encoded.
    """
    from tqdm import tqdm

    _open(out, drawing, resume)
    if not (out / RECORDS).is_file():
        done = _cut_back(out / DRAWN, drawing.part)
        if done < len(drawing.asked):
            sampler = make_sampler()
            starts = range(done, len(drawing.asked), drawing.part)
            for start in tqdm(starts, desc="parts", disable=not progress):
                _append(out / DRAWN, _part(sampler, drawing, start))
        Records.of(_read(out / DRAWN)).save(out / RECORDS)
    (out / DRAWN).unlink(missing_ok=True)
    ends = [
        candidate.stats["finished"]
        for record in _read(out / RECORDS)
        for candidate in record.candidates
    ]
    return Drawn(out / RECORDS, len(drawing.asked), len(ends), ends.count(0))


def part_seed(seed: int, part: int) -> int:
    """Return the seed of a part, a non-negative 63-bit number.

    Example:
        >>> part_seed(0, 1) == part_seed(1, 0)
        False
    """
    return int(content_hash([f"{seed}", f"{part}"]), 16) >> 1


def _part(sampler: Sampler, drawing: Drawing, start: int) -> Iterator[Record]:
    part = drawing.asked[start : start + drawing.part]
    found = sampler(part, n=drawing.n, seed=part_seed(drawing.seed, start // drawing.part))
    rows = zip(found.records, found.log_probs.tolist(), found.finished.tolist(), strict=True)
    for record, log_probs, finished in rows:
        yield replace(
            record,
            candidates=tuple(
                replace(
                    candidate,
                    origin=replace(candidate.origin, sampling=drawing.sampling),
                    stats={"log_prob": log_prob, "finished": float(ended)},
                )
                for candidate, log_prob, ended in zip(
                    record.candidates, log_probs, finished, strict=True
                )
            ),
        )


def _open(out: Path, drawing: Drawing, resume: bool) -> None:
    identity = drawing.identity()
    names = entries(out)
    if names <= {SETTINGS}:  # perhaps of an attempt that drew nothing
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / SETTINGS, identity)
        return
    if SETTINGS not in names:
        raise RunFolderError(f"{out} is not empty and holds no responses. Name another folder.")
    if not resume:
        raise RunFolderError(
            f"{out} holds responses already. Go on with --resume, or name another folder."
        )
    before = json.loads((out / SETTINGS).read_text(encoding="utf-8"))
    changed = [key for key in identity if json_hash(before.get(key)) != json_hash(identity[key])]
    if changed:
        raise RunFolderError(
            f"{out} holds responses that differ in {', '.join(changed)}, so going on would mix two "
            f"samples. Give the settings of its {SETTINGS}, or name another folder."
        )


def _append(path: Path, records: Iterator[Record]) -> None:
    lines = [json.dumps(record.to_json()) + "\n" for record in records]
    with path.open("a", encoding="utf-8", newline="\n") as handle:
        handle.writelines(lines)
        handle.flush()
        os.fsync(handle.fileno())


def _cut_back(path: Path, part: int) -> int:
    """Drop what a kill left of a part; return how many prompts are answered.

    Whoever was killed while the last part of all was written has less than a part there: it is
    drawn again, to the same responses.
    """
    if not path.is_file():
        return 0
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    whole = sum(line.endswith("\n") for line in lines) // part * part
    with atomic_text(path) as handle:
        handle.writelines(lines[:whole])
    return whole


def _read(path: Path) -> Iterator[Record]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield Record.from_json(json.loads(line))
