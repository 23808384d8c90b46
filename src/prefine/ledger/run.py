"""Runs entries, seed by seed, in processes that import torch once and use one thread each."""

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from multiprocessing.context import SpawnContext
from typing import Any

from prefine.errors import LedgerError, NonFiniteError
from prefine.ledger import provenance
from prefine.ledger.catalogue import find
from prefine.ledger.entry import Entry
from prefine.ledger.outcome import Outcome, SeedRun
from prefine.storage import cache_folder, json_hash, write_json

OnSeed = Callable[[Entry, SeedRun], None]


def run_entries(
    entries: Sequence[Entry],
    *,
    jobs: int = 1,
    seeds: int | None = None,
    first_seed: int = 0,
    fresh: bool = False,
    on_seed: OnSeed | None = None,
) -> Iterator[Outcome]:
    """Run entries and yield each outcome as soon as its last seed is done.

    Finished seeds are kept in the cache, so that a run that was cut off goes on where it stood, as
    long as no line of prefine's code has changed.

    Args:
        entries: What to run.
        jobs: Processes; 1 runs in a single one beside this.
        seeds: Seeds of each entry, or None for as many as it declares.
        first_seed: The first of them. What is declared starts at 0; tune on others.
        fresh: Whether to run seeds that the cache has.
        on_seed: Called after each seed.

    Raises:
        LedgerError: If an experiment fails or lacks a measure that it declares.
        NonFiniteError: If a measure is not finite.
    """
    code = provenance.code_hash()
    count = {entry.name: seeds or entry.seeds for entry in entries}
    found: dict[str, list[SeedRun]] = {entry.name: [] for entry in entries}
    by_name = {entry.name: entry for entry in entries}
    with ProcessPoolExecutor(jobs, SpawnContext(), initializer=_one_thread) as pool:
        waiting: dict[Future[SeedRun], str] = {
            pool.submit(_kept_seed, entry.name, seed, code, fresh): entry.name
            for entry in entries
            for seed in range(first_seed, first_seed + count[entry.name])
        }
        for done in as_completed(waiting):
            entry = by_name[waiting[done]]
            found[entry.name].append(run := done.result())
            if on_seed is not None:
                on_seed(entry, run)
            if len(found[entry.name]) == count[entry.name]:
                runs = sorted(found[entry.name], key=lambda one: one.seed)
                yield Outcome(entry, runs, provenance.made(entry))


def run_seed(entry: Entry, seed: int) -> SeedRun:
    """Run one seed here and check what it returns.

    Raises:
        LedgerError: If a measure that the entry bounds is missing.
        NonFiniteError: If a measure is not finite.
    """
    start = time.process_time()
    metrics = {name: float(value) for name, value in entry.run(seed).items()}
    seconds = time.process_time() - start
    wanted = {bound.measure for bound in entry.bounds}
    wanted |= {f"{bound.measure}/control" for bound in entry.bounds if bound.control}
    if missing := sorted(wanted - metrics.keys()):
        raise LedgerError(
            f"The experiment {entry.name} did not return {', '.join(missing)}, which its bounds "
            f"are about. It returned {', '.join(metrics)}."
        )
    if wrong := [name for name, value in metrics.items() if not math.isfinite(value)]:
        raise NonFiniteError(
            f"The experiment {entry.name} returned numbers that are not finite with seed {seed}: "
            f"{', '.join(f'{name} = {metrics[name]}' for name in wrong)}."
        )
    return SeedRun(seed, metrics, seconds)


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def _kept_seed(name: str, seed: int, code: str, fresh: bool) -> SeedRun:
    """Run a seed in a worker, or read what an earlier call made of it."""
    entry = find(name)
    path = cache_folder() / "ledger" / name / f"{json_hash([entry.hash, code, seed])}.json"
    if path.exists() and not fresh:
        kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return SeedRun(seed, kept["metrics"], kept["seconds"])
    run = run_seed(entry, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"metrics": dict(run.metrics), "seconds": run.seconds})
    return run
