"""How fast preference data is converted, and in how much memory, beside the `datasets` library.

Each measurement is a process of its own, and the sides take turns (A B C A B C ...), so a busy
machine slows all of them. Rows a second are per CPU second (user and system), imports left out:

    prefine    `convert`: every row read, checked, written as a record
    datasets   `load_dataset("json")` into a new cache, then `to_json`: rows parsed, not understood
    streaming  iteration over `load_dataset("json", streaming=True)`: rows parsed, nothing written

`make bench-data` writes docs/results/convert.json; `ROWS` and `ROUNDS` make it shorter.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

SIDES = ("prefine", "datasets", "streaming")
CASES = [
    ("trl_preference", "jsonl", "jsonl"),
    ("sharegpt", "jsonl", "jsonl"),
    ("ultrafeedback_binarized", "jsonl", "jsonl"),
    ("prefine", "jsonl", "jsonl"),
    ("prefine", "jsonl", "parquet"),
    ("prefine", "parquet", "jsonl"),
]
SIZES = (10_000, 100_000, 1_000_000)
PACKAGES = ("prefine", "datasets", "pyarrow")


def rows(count: int, name: str) -> Iterator[dict[str, Any]]:
    """Pairs of about a thousand characters: words of a seeded vocabulary, some not ASCII."""
    rng = random.Random(0)
    letters = "etaoinshrdlucmfwypvbgk"
    words = ["".join(rng.choices(letters, k=rng.randint(2, 9))) for _ in range(5000)]
    words += ["naïve", "“quoted”", "line\nbreak", "数据", 'a "b"']

    def text(low: int, high: int) -> str:
        return " ".join(rng.choices(words, k=rng.randint(low, high)))

    def message(role: str, content: str) -> dict[str, str]:
        return {"role": role, "content": content}

    for _ in range(count):
        prompt, chosen, rejected = text(10, 60), text(20, 100), text(20, 100)
        if name == "sharegpt":
            yield {
                "conversations": [{"from": "human", "value": prompt}],
                "chosen": {"from": "gpt", "value": chosen},
                "rejected": {"from": "gpt", "value": rejected},
            }
        elif name == "ultrafeedback_binarized":
            said = [message("user", prompt), message("assistant", chosen)]
            yield {
                "prompt": prompt,
                "prompt_id": f"{rng.getrandbits(256):064x}",
                "chosen": said,
                "rejected": [said[0], message("assistant", rejected)],
                "messages": said,
                "score_chosen": 8.5,
                "score_rejected": 6.0,
            }
        else:
            yield {"prompt": prompt, "chosen": chosen, "rejected": rejected}


def make(path: Path, count: int, name: str) -> None:
    """Write the data of a case."""
    raw = path.with_name("raw.jsonl")
    with raw.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows(count, name))
    if name != "prefine":
        raw.replace(path)
        return
    from prefine.records import convert

    convert(raw, path)
    raw.unlink()


def prefine(source: Path, out: Path) -> int:
    from prefine.records import convert

    return convert(source, out).records


def datasets(source: Path, out: Path) -> int:
    import datasets as library

    kind = "parquet" if source.suffix == ".parquet" else "json"
    found = library.load_dataset(
        kind, data_files=str(source), split="train", cache_dir=str(out.parent / "cache")
    )
    if out.suffix == ".parquet":
        found.to_parquet(str(out))
    else:
        found.to_json(str(out), force_ascii=False)
    return len(found)


def streaming(source: Path, out: Path) -> int:
    import datasets as library

    kind = "parquet" if source.suffix == ".parquet" else "json"
    found = library.load_dataset(kind, data_files=str(source), split="train", streaming=True)
    return sum(1 for _ in found)


def inside(side: str, source: Path, ending: str) -> None:
    """Measure one side in this process and print it."""
    run: Callable[[Path, Path], int] = {
        "prefine": prefine, "datasets": datasets, "streaming": streaming,
    }[side]  # fmt: skip
    with tempfile.TemporaryDirectory(dir=source.parent) as folder:
        _warm_up(run, Path(folder), source.suffix, ending)
        cpu, wall = time.process_time(), time.perf_counter()
        count = run(source, Path(folder) / f"out.{ending}")
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"rows": count, "cpu_s": cpu, "wall_s": wall, "peak_mb": peak}))


def _warm_up(run: Callable[[Path, Path], int], folder: Path, suffix: str, ending: str) -> None:
    """Import whatever is imported late."""
    few = folder / "few"
    few.mkdir()
    make(few / f"few{suffix}", 10, "prefine" if suffix == ".parquet" else "trl_preference")
    run(few / f"few{suffix}", few / f"out.{ending}")


def measure(side: str, source: Path, ending: str) -> dict[str, float]:
    """Measure one side in a process of its own."""
    command = [sys.executable, __file__, "--inside", side, str(source), ending]
    load = os.getloadavg()[0]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {**json.loads(done.stdout.splitlines()[-1]), "load_before": load}


def stat(values: list[float]) -> dict[str, Any]:
    from prefine.statistics import t_interval

    found = t_interval(values, method="t over rounds").to_json()
    return {**found, "median": statistics.median(values), "values": values}


def speeds(folder: Path, count: int, rounds: int) -> list[dict[str, Any]]:
    """Compare the sides, case by case."""
    made = []
    for name, suffix, ending in CASES:
        source = folder / f"{name}.{suffix}"
        make(source, count, name)
        size = source.stat().st_size
        taken: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
        for _ in range(rounds):
            for side in SIDES:
                taken[side].append(measure(side, source, ending))
        source.unlink()
        rates = {s: [run["rows"] / run["cpu_s"] for run in runs] for s, runs in taken.items()}
        row: dict[str, Any] = {"format": name, "from": suffix, "to": ending}
        row |= {"rows": count, "bytes": size, "rows_per_cpu_second": {}, "prefine_over": {}}
        for side in SIDES:
            row["rows_per_cpu_second"][side] = stat(rates[side])
            if side != "prefine":
                ratios = [a / b for a, b in zip(rates["prefine"], rates[side], strict=True)]
                row["prefine_over"][side] = stat(ratios)
        row["wall_s"] = {s: [run["wall_s"] for run in runs] for s, runs in taken.items()}
        row["peak_mb"] = {s: max(run["peak_mb"] for run in runs) for s, runs in taken.items()}
        row["load_before"] = [run["load_before"] for runs in taken.values() for run in runs]
        made.append(row)
        print(json.dumps({k: row[k] for k in ("format", "from", "to", "peak_mb")}), flush=True)
        shown = {s: round(statistics.median(rates[s])) for s in SIDES}
        print(f"  rows per CPU second {shown}", flush=True)
    return made


def memory(folder: Path, sizes: tuple[int, ...]) -> list[dict[str, Any]]:
    """Measure the peak of memory over the number of rows."""
    made = []
    for count in sizes:
        source = folder / "pairs.jsonl"
        make(source, count, "trl_preference")
        runs = {side: measure(side, source, "jsonl") for side in ("prefine", "datasets")}
        made.append({"rows": count, "bytes": source.stat().st_size, **runs})
        source.unlink()
        print(json.dumps(made[-1]), flush=True)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the conversion of preference data.")
    parser.add_argument("--rows", type=int, default=20_000, help="for the speed of each case")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES, help="for the memory")
    parser.add_argument("--out", type=Path, default=Path("docs/results/convert.json"))
    parser.add_argument("--inside", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.inside:
        side, source, ending = args.inside
        inside(side, Path(source), ending)
        return
    os.environ["HF_DATASETS_OFFLINE"] = os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"
    story: dict[str, Any] = {
        "command": f"make bench-data ROWS={args.rows} ROUNDS={args.rounds}",
        "data": "pairs of seeded words, about a thousand characters a row",
        "machine": {"processor": _processor(), "cores": os.cpu_count(), "shared": True},
        "python": platform.python_version(),
        "versions": {package: importlib.metadata.version(package) for package in PACKAGES},
    }
    with tempfile.TemporaryDirectory(prefix="prefine-bench-") as folder:
        story["memory"] = memory(Path(folder), tuple(args.sizes))
        story["speed"] = speeds(Path(folder), args.rows, args.rounds)
    args.out.write_text(json.dumps(story, indent=2) + "\n", encoding="utf-8")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


if __name__ == "__main__":
    main()
