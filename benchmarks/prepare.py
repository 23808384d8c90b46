"""What a user waits for before training: data made ready, imports, the first step; beside TRL.

Each measurement is a process of its own (`prepare_sides.py`), and the sides take turns (A B C A B C
...), so a busy machine slows all of them. Seconds are wall seconds, and CPU seconds of a process
and its children; imports count only where they are what is measured. Before anything is compared,
both sides' token ids are.

`make bench-prepare` writes docs/results/prepare.json; `ROUNDS` makes it shorter.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

SIDES = Path(__file__).with_name("prepare_sides.py")
THEIRS = Path(".venv-trl/bin/python")
PAIRS = 3000
SIZES = (1_000, 10_000, 100_000)
Words = Callable[[random.Random, int], list[str]]


def word(rng: random.Random) -> str:
    return "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 9)))


def from_lexicon() -> Words:
    """Words of a lexicon of 5,000, as an author has one."""
    rng = random.Random(0)
    lexicon = [word(rng) for _ in range(5000)]
    return lambda rng, count: rng.choices(lexicon, k=count)


def always_new(rng: random.Random, count: int) -> list[str]:
    """Words that hardly ever come twice: the worst case of remembering words."""
    return [word(rng) for _ in range(count)]


def pairs(count: int, words: Words, lengths: tuple[int, int]) -> Iterator[dict[str, str]]:
    """Pairs with so many words in the prompt and in each response."""
    rng = random.Random(1)
    for _ in range(count):
        prompt, chosen, rejected = (" ".join(words(rng, n)) for n in (*lengths, lengths[1]))
        yield {"prompt": prompt, "chosen": " " + chosen, "rejected": " " + rejected}


def write(path: Path, rows: Iterator[dict[str, str]]) -> str:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return str(path)


def make_model(folder: Path, kind: str) -> Path:
    """A tiny model beside a tokenizer of 8,000 tokens: `byte_level` BPE or `metaspace` BPE."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    special = ["<unk>", "<pad>", "<eos>"]
    made: Any = Tokenizer(models.BPE(unk_token=None if kind == "byte_level" else "<unk>"))
    if kind == "byte_level":
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        made.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
    else:
        made.pre_tokenizer = pre_tokenizers.Metaspace()
        made.decoder = decoders.Metaspace()
        alphabet = []
    texts = (row["prompt"] for row in pairs(500, from_lexicon(), (200, 1)))
    trainer = trainers.BpeTrainer(
        vocab_size=8000, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=made, unk_token="<unk>", pad_token="<pad>", eos_token="<eos>"
    )
    folder.mkdir()
    tokenizer.save_pretrained(folder / "model")
    config = LlamaConfig(
        vocab_size=8000, hidden_size=64, intermediate_size=128, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, pad_token_id=1, eos_token_id=2,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder / "model")
    write(folder / "few.jsonl", pairs(10, from_lexicon(), (8, 8)))
    return folder


def measure(task: str, side: str, folder: Path, source: str) -> dict[str, Any]:
    """Measure one side in a process of its own."""
    python = sys.executable if side.startswith("prefine") else str(THEIRS)
    command = [python, str(SIDES), task, side, str(folder), source]
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as cache:
        told = {"PREFINE_CACHE": cache, "STARTED": repr(time.time()), "HF_HUB_OFFLINE": "1"}
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **told})
    if done.returncode:
        raise SystemExit(f"{side} failed at {task}:\n{done.stderr}")
    return {**json.loads(done.stdout.splitlines()[-1]), "load_before": load}


def in_turn(
    task: str, sides: list[str], folder: Path, source: str, rounds: int
) -> dict[str, list[dict[str, Any]]]:
    taken: dict[str, list[dict[str, Any]]] = {side: [] for side in sides}
    for _ in range(rounds):
        for side in sides:
            taken[side].append(measure(task, side, folder, source))
            print(task, side, json.dumps(taken[side][-1]), flush=True)
    return taken


def ratios(ours: list[float], theirs: list[float]) -> dict[str, Any]:
    """How many times ours theirs takes, in sum over runs that followed each other."""
    from prefine.statistics import cluster_bootstrap

    both = list(zip(ours, theirs, strict=True))
    return cluster_bootstrap(
        both, statistic=lambda runs: runs[:, 1].sum() / runs[:, 0].sum(), unit="pairs of runs"
    ).to_json()


def stat(values: list[float]) -> dict[str, Any]:
    from prefine.statistics import t_interval

    found = t_interval(values, method="t over runs").to_json()
    return {**found, "median": statistics.median(values), "values": values}


def spent(run: dict[str, Any], part: str, unit: str) -> float:
    """Seconds from a file to what is ready (`all`), or without reading and viewing (`prepare`)."""
    read = run["read"][unit] if part == "all" else 0.0
    return read + run["prepare"][unit]


def speeds(
    folder: Path, name: str, words: Words, count: int, sides: list[str], rounds: int
) -> dict[str, Any]:
    """Prepare pairs of about 1,100 tokens on every side, and compare."""
    source = write(folder / f"{name}.jsonl", pairs(count, words, (200, 200)))
    taken = in_turn("prepare", sides, folder, source, rounds)
    tokens = {run["tokens"] for runs in taken.values() for run in runs}
    if len(tokens) > 1:
        raise SystemExit(f"{name}: the sides have other token ids, so nothing is comparable.")
    found: dict[str, Any] = {"name": name, "pairs": count, "tokens": tokens.pop()}
    for part in ("all", "prepare"):
        seconds = {
            unit: {side: [spent(run, part, unit) for run in taken[side]] for side in sides}
            for unit in ("cpu_s", "wall_s")
        }
        rates = {side: stat([count / s for s in of]) for side, of in seconds["wall_s"].items()}
        found[part] = {
            "pairs_per_second": rates,
            "pairs_per_cpu_second": {
                side: stat([count / s for s in of]) for side, of in seconds["cpu_s"].items()
            },
            "faster": {
                unit: {side: ratios(of["prefine"], of[side]) for side in sides[1:]}
                for unit, of in seconds.items()
            },
        }
    found["memory_mb"] = {s: max(r["memory_mb"]["peak"] for r in of) for s, of in taken.items()}
    found["load_before"] = [run["load_before"] for runs in taken.values() for run in runs]
    return found


def growth(folder: Path, sizes: tuple[int, ...], rounds: int) -> list[dict[str, Any]]:
    """Prepare more and more pairs of about 60 tokens."""
    made = []
    for count in sizes:
        source = write(folder / "short.jsonl", pairs(count, from_lexicon(), (11, 11)))
        runs = in_turn("prepare", ["prefine"], folder, source, rounds)["prefine"]
        row: dict[str, Any] = {"pairs": count}
        for unit in ("cpu_s", "wall_s"):
            each = [1e6 * spent(run, "all", unit) / count for run in runs]
            row[f"micro{unit}_per_pair"] = stat(each)
        for which in ("peak", "kept"):
            row[f"{which}_mb"] = stat([run["memory_mb"][which] for run in runs])
        made.append(row)
    return made


def starts(folder: Path, rounds: int) -> dict[str, Any]:
    """Import prefine, and take the first step of a run."""
    imported: list[float] = []
    for _ in range(10):
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import prefine"], check=True)
        imported.append(time.perf_counter() - begin)
    source = write(folder / "start.jsonl", pairs(200, from_lexicon(), (11, 11)))
    sides = ["prefine", "trl", "trl_cached"]
    taken = in_turn("first_step", sides, folder, source, rounds)
    found: dict[str, Any] = {"import_prefine_s": stat(imported), "first_step": {}}
    for unit in ("cpu_s", "wall_s"):
        seconds = {side: [run[unit] for run in runs] for side, runs in taken.items()}
        found["first_step"][unit] = {
            **{side: stat(values) for side, values in seconds.items()},
            "ratio": {side: ratios(seconds["prefine"], seconds[side]) for side in sides[1:]},
        }
    return found


def versions() -> dict[str, dict[str, str]]:
    names = ("prefine", "trl", "torch", "transformers", "tokenizers", "datasets")
    code = f"""import json
from importlib.metadata import version, PackageNotFoundError
found = {{}}
for name in {names}:
    try:
        found[name] = version(name)
    except PackageNotFoundError:
        pass
print(json.dumps(found))"""
    return {
        side: json.loads(subprocess.check_output([python, "-c", code]))
        for side, python in (("prefine", sys.executable), ("trl", str(THEIRS)))
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what happens before training.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES, help="for the growth")
    parser.add_argument("--out", type=Path, default=Path("docs/results/prepare.json"))
    args = parser.parse_args()
    from prefine.bench.figures import machine

    story: dict[str, Any] = {
        "command": f"make bench-prepare ROUNDS={args.rounds}",
        "data": "made-up pairs; byte-level or Metaspace BPE of 8,000 tokens trained on them",
        "machine": {**machine(), "cores": os.cpu_count(), "shared": True},
        "environments": versions(),
        "threads": {"torch": 1, "tokenizers": "as many as cores, for both sides"},
    }
    with tempfile.TemporaryDirectory(prefix="prefine-bench-") as name:
        bytes_, spaces = (
            make_model(Path(name) / kind, kind) for kind in ("byte_level", "metaspace")
        )
        story["start"] = starts(bytes_, args.rounds)
        cases: list[tuple[Path, str, Words, int, list[str]]] = [
            (bytes_, "byte-level", from_lexicon(), PAIRS, ["prefine", "trl", "trl_2"]),
            (bytes_, "byte-level, new words", always_new, PAIRS // 3, ["prefine", "trl"]),
            (spaces, "metaspace", from_lexicon(), PAIRS // 3, ["prefine", "trl"]),
        ]
        story["speed"] = [speeds(*case, args.rounds) for case in cases]
        story["growth"] = growth(bytes_, tuple(args.sizes), min(3, args.rounds))
    args.out.write_text(json.dumps(story, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
