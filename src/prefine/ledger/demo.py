"""The demo: the whole way, on a world whose truth is known.

A tiny language model learns to answer, its answers are compared by noisy annotators, a reward
model and a DPO policy are trained on the comparisons, and both are measured against the gold
reward that the annotators only hint at. The control does the same with shuffled labels, from which
nothing can be learned.
"""

import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from prefine.errors import RunFolderError
from prefine.ledger.demo_report import write_picture, write_report
from prefine.ledger.demo_seed import Json, Settings, Stage, run_seed
from prefine.runs import entries
from prefine.statistics import t_interval
from prefine.storage import atomic_folder, json_hash, write_json

CONTROL_SHARE = 0.1
"""Shuffled labels may change gold by less than this share of what true labels bring."""

VALIDITY_LOSS = 0.03
"""Share of grammatical answers that alignment may cost."""


@dataclass(frozen=True, slots=True)
class Criterion:
    """Something that the demo must show.

    Attributes:
        claim: In words.
        measured: The number it is about.
        bound: What it is held against.
        holds: Whether it does.
    """

    claim: str
    measured: float
    bound: float
    holds: bool


def demo(
    out: Path | str,
    seed: int = 0,
    seeds: int = 1,
    resume: bool = False,
    settings: Settings | None = None,
) -> Json:
    """Run the demo; write `demo.json`, `demo.svg`, `report.html` and `models/` into a folder.

    Every finished seed is kept in `seeds/N.json`, so that a demo that was stopped goes on where it
    was, and more seeds can be added.

    Args:
        out: The folder.
        seed: The first seed.
        seeds: How many: the last is `seed + seeds - 1`.
        resume: Take over the finished seeds of an earlier demo in this folder.
        settings: What a seed does.

    Returns:
        What `demo.json` holds: numbers with intervals (over prompts with one seed, t over paired
        seeds with more), `criteria`, and `seconds` over all seeds.

    Raises:
        RunFolderError: If the folder is in use by something else, or by a demo and `resume` is
            false, or that demo did something else in its seeds.
    """
    folder, settings = Path(out), settings or Settings()
    _open(folder, resume)
    results = [_seed(folder, n, settings) for n in range(seed, seed + seeds)]
    summary = combine([result["numbers"] for result in results])
    summary["criteria"] = [asdict(criterion) for criterion in criteria(summary)]
    summary["seeds"] = list(range(seed, seed + seeds))
    summary["seconds"] = sum(result["seconds"] for result in results)
    write_json(folder / "demo.json", summary)
    write_picture(folder / "demo.svg", summary)
    write_report(folder / "report.html", summary, settings.to_json(), results[0]["examples"])
    return summary


def combine(numbers: Sequence[Json]) -> Json:
    """Return the numbers of all seeds as one: t over paired seeds if there are two or more.

    Example:
        >>> one, two = ({"kl": {"value": v, "n": 9, "method": "bootstrap"}} for v in (1.0, 2.0))
        >>> combine([one, two])["kl"]["value"], combine([one, two])["kl"]["method"]
        (1.5, 't over paired seeds')
        >>> combine([one])["kl"]["method"]
        'bootstrap'
    """
    first = numbers[0]
    if len(numbers) == 1:
        return dict(first)
    if "value" in first:
        values = [number["value"] for number in numbers]
        return t_interval(values, method="t over paired seeds").to_json()
    return {key: combine([number[key] for number in numbers]) for key in first}


def criteria(summary: Json) -> list[Criterion]:
    """Return what the demo must show, and whether it does."""
    gold, per_word = summary["gold_reward"], summary["gold_per_word"]
    gain, control = gold["difference"], gold["shuffled_difference"]["value"]
    allowed = CONTROL_SHARE * gain["value"]
    kept = summary["validity"]["difference"]["value"]
    return [
        Criterion("DPO raises the gold reward", gain["low"], 0.0, gain["low"] > 0),
        Criterion(
            "shuffled labels change it by under 10% of that, either way",
            abs(control),
            allowed,
            abs(control) < allowed,
        ),
        Criterion(
            "grammatical answers stay within 3 points of SFT's",
            abs(kept),
            VALIDITY_LOSS,
            abs(kept) <= VALIDITY_LOSS,
        ),
        Criterion(
            "gold per word rises too",
            per_word["difference"]["low"],
            0.0,
            per_word["difference"]["low"] > 0,
        ),
    ]


def _open(folder: Path, resume: bool) -> None:
    if not entries(folder):
        return
    if not (folder / "seeds").is_dir():
        raise RunFolderError(
            f"{folder} is not empty and holds no demo, so files could be lost. Name another folder."
        )
    if not resume:
        raise RunFolderError(
            f"{folder} holds a demo already. Pass --resume to go on with it, or name another "
            "folder."
        )


def _seed(folder: Path, seed: int, settings: Settings) -> Json:
    kept = folder / "seeds" / f"{seed}.json"
    if kept.is_file():
        result = json.loads(kept.read_text(encoding="utf-8"))
        if result["settings"] != json_hash(settings.to_json()):
            raise RunFolderError(
                f"{kept} comes from a demo with other settings, and its numbers cannot stand "
                "beside new ones. Name another folder."
            )
        print(f"seed {seed}: taken over", file=sys.stderr)
        return result
    work = kept.with_suffix("")
    if work.is_dir():  # of a seed that was stopped: its stages are short, so it starts again
        shutil.rmtree(work)
    work.mkdir(parents=True)
    result = run_seed(work, seed, settings, _announced(f"seed {seed}"))
    _keep_models(folder / "models", result.pop("models"))
    result["settings"] = json_hash(settings.to_json())
    write_json(kept, result)
    return result


def _keep_models(models: Path, found: dict[str, str]) -> None:
    """The models of the first seed that finishes are those a reader may try."""
    if models.is_dir():
        return
    with atomic_folder(models) as part:
        for name, folder in found.items():
            shutil.copytree(folder, part / name)


def _announced(title: str) -> Stage:
    import time

    from rich.console import Console

    console = Console(stderr=True, highlight=False)

    @contextmanager
    def stage(text: str) -> Iterator[None]:
        start = time.monotonic()
        with console.status(f"{title}  {text}"):
            yield
        console.print(f"{title}  {time.monotonic() - start:4.0f} s  {text}", markup=False)

    return stage
