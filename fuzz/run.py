"""Coverage-guided fuzzing of every parser: `make fuzz SECONDS=60`, or one target by name.

Each target runs in its own process under atheris (libFuzzer), which keeps the inputs that reach
new code and changes them further. A finding does not stop it: the first input of each kind is
kept in `out/fuzz/TARGET/findings` with its traceback. Needs `pip install -r fuzz/requirements.txt`.
"""

import argparse
import importlib.metadata
import json
import platform
import re
import shutil
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any

OUT = Path("out/fuzz")
PACKAGES = ("prefine", "atheris", "pyarrow", "zstandard", "pyyaml")


def fuzz(name: str, seconds: int, seed: int) -> None:
    """Fuzz one target in this process, which libFuzzer ends."""
    import atheris

    with atheris.instrument_imports(include=["prefine", "yaml"]):
        import targets

    folder = OUT / name
    corpus, findings = folder / "corpus", folder / "findings"
    for path in (corpus, findings):
        path.mkdir(parents=True, exist_ok=True)
    target = targets.TARGETS[name]
    for at, data in enumerate(targets.seeds(name)):
        (corpus / f"seed-{at}").write_bytes(data)
        targets.survive(target, data)  # imports what is imported late
    known: set[str] = set()

    def one(data: bytes) -> None:
        error = targets.survive(target, data)
        if error is None:
            return
        last = traceback.extract_tb(error.__traceback__)[-1]
        kind = f"{type(error).__name__}-{Path(last.filename).stem}-{last.lineno}"
        if kind not in known:
            known.add(kind)
            (findings / kind).write_bytes(data)
            story = "".join(traceback.format_exception(error))
            (findings / f"{kind}.txt").write_text(story, encoding="utf-8", errors="replace")

    options = [
        f"-max_total_time={seconds}", f"-seed={seed}", "-timeout=20", "-rss_limit_mb=3000",
        "-max_len=4096", "-print_final_stats=1", f"-artifact_prefix={findings}/",
    ]  # fmt: skip
    atheris.Setup([sys.argv[0], *options, str(corpus)], one)
    atheris.Fuzz()


def supervise(name: str, seconds: int, seed: int) -> dict[str, Any]:
    """Fuzz one target in a process of its own; return what came of it."""
    shutil.rmtree(OUT / name / "findings", ignore_errors=True)
    command = [sys.executable, __file__, name, "--inside", "--seconds", str(seconds)]
    begin = time.monotonic()
    done = subprocess.run(
        [*command, "--seed", str(seed)], capture_output=True, text=True, errors="replace"
    )
    (OUT / name).mkdir(parents=True, exist_ok=True)
    (OUT / name / "log.txt").write_text(done.stderr, encoding="utf-8", errors="replace")
    edges = re.findall(r"cov: (\d+)", done.stderr)
    runs = re.findall(r"stat::number_of_executed_units: (\d+)", done.stderr)
    findings = sorted(
        path.name for path in (OUT / name / "findings").glob("*") if path.suffix != ".txt"
    )
    return {
        "target": name,
        "seconds": round(time.monotonic() - begin, 1),
        "executions": int(runs[-1]) if runs else None,
        "edges_at_start": int(edges[0]) if edges else None,
        "edges": int(edges[-1]) if edges else None,
        "findings": findings,
        "exit": done.returncode,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("target", nargs="*", help="all of them by default")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", type=Path, help="file for the numbers, as JSON")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.inside:
        fuzz(args.target[0], args.seconds, args.seed)
        return
    import targets

    unknown = set(args.target) - set(targets.TARGETS)
    if unknown:
        parser.error(f"no target {min(unknown)}; there are {', '.join(targets.TARGETS)}")
    rows = []
    for name in args.target or targets.TARGETS:
        row = supervise(name, args.seconds, args.seed)
        rows.append(row)
        print(json.dumps(row), flush=True)
    if args.write:
        versions = {package: importlib.metadata.version(package) for package in PACKAGES}
        story = {
            "command": f"make fuzz SECONDS={args.seconds}",
            "python": platform.python_version(),
            "versions": versions,
            "targets": rows,
        }
        args.write.write_text(json.dumps(story, indent=2) + "\n", encoding="utf-8")
    sys.exit(any(row["findings"] or row["exit"] for row in rows))


if __name__ == "__main__":
    main()
