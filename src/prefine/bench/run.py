"""Runs a case: both sides in processes of their own, in turn, the same step each time."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from prefine.bench.cases import Case
from prefine.errors import BenchError

HERE = Path(__file__).parent
WEIGHT_BYTES, STATE_BYTES = 4, 12
"""Bytes of a float32 parameter, and of its gradient and AdamW state where it is trained."""

SAME_LOSS, SAME_GRADIENT = 1e-4, 1e-3
"""Largest relative difference of the first step's loss and gradients, before anything is timed."""


@dataclass(slots=True)
class Side:
    """A process that does a step when it is told to.

    Attributes:
        name: `prefine` or `trl`.
        process: Its process.
        facts: What it said when it was ready.
        steps: What each step took: `cpu` and `wall` seconds, `peak` bytes, `loss`.
    """

    name: str
    process: subprocess.Popen[str]
    facts: dict[str, Any]
    steps: list[dict[str, float]]

    def hear(self) -> dict[str, Any]:
        """Read an answer.

        Raises:
            BenchError: If the process ended instead; with the end of what it printed.
        """
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if line:
            return json.loads(line)
        said = (self.process.stderr.read() if self.process.stderr else "") or ""
        raise BenchError(f"the side of {self.name} stopped: {said.strip()[-1500:]}")

    def step(self) -> None:
        """Let it do a step, and keep what it took."""
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        self.steps.append(self.hear())


def run_case(case: Case, *, trl_python: str, pairs: int, threads: int) -> dict[str, Any]:
    """Time a case.

    Args:
        case: The work.
        trl_python: A Python that has TRL.
        pairs: How many pairs of steps are timed.
        threads: Threads of each side; while one works the other waits.

    Returns:
        The case, what each side said, its steps, and how their first steps compare.

    Raises:
        BenchError: If a side fails, or both do not compute the same loss and gradients.
    """
    steps = case.steps + pairs
    with tempfile.TemporaryDirectory(prefix="prefine-bench-") as name:
        folder = Path(name)
        shared = {"steps": steps, "folder": name, "threads": threads}
        given = {
            side: json.dumps({"case": case.of(side).to_json(), **shared})
            for side in ("prefine", "trl")
        }
        commands = {
            "prefine": [sys.executable, "-m", "prefine.bench.side_prefine", given["prefine"]],
            "trl": [trl_python, str(HERE / "side_trl.py"), given["trl"]],
        }
        with _started(commands, threads) as sides:
            for side in sides:
                side.facts = side.hear()
            agreement: dict[str, float] = {}
            for number in range(steps):
                order = sides if number % 2 == 0 else sides[::-1]
                for side in order:
                    side.step()
                if number == 0:
                    agreement = compare_first_steps(sides, folder)
        return {
            "case": case.to_json(),
            "threads": threads,
            "agreement": agreement,
            "sides": {
                side.name: {"facts": side.facts, "steps": side.steps[case.steps :]}
                for side in sides
            },
        }


@contextmanager
def _started(commands: dict[str, list[str]], threads: int) -> Iterator[list[Side]]:
    quiet = {
        "OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE", "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false", "TQDM_DISABLE": "1", "CUDA_VISIBLE_DEVICES": "",
    }  # fmt: skip
    sides = [
        Side(
            name,
            subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                text=True, env={**os.environ, **quiet},
            ),
            {},
            [],
        )
        for name, command in commands.items()
    ]  # fmt: skip
    try:
        yield sides
    finally:
        for side in sides:
            side.process.kill()
            side.process.communicate()


def compare_first_steps(sides: Sequence[Side], folder: Path) -> dict[str, float]:
    """Return how far apart loss and gradients of both sides' first steps are.

    Raises:
        BenchError: If further than rounding explains: then they do not do the same work.
    """
    from safetensors.numpy import load_file

    ours, theirs = (side.steps[0]["loss"] for side in sides)
    loss = abs(ours - theirs) / max(abs(theirs), 1e-12)
    tables = [
        {
            _plain_name(name): table
            for name, table in load_file(folder / f"{side.name}.safetensors").items()
        }
        for side in sides
    ]
    if tables[0].keys() != tables[1].keys():
        odd = sorted(tables[0].keys() ^ tables[1].keys())
        raise BenchError(f"both sides train other parameters: {', '.join(odd[:4])}")
    size = max(float(np.abs(table).max()) for table in tables[1].values())
    gradient = max(
        float(np.abs(table - tables[1][name]).max())
        / max(float(np.abs(tables[1][name]).max()), 1e-3 * size)
        for name, table in tables[0].items()
    )
    if loss > SAME_LOSS or gradient > SAME_GRADIENT:
        raise BenchError(
            f"both sides compute different things: losses {ours:.6g} and {theirs:.6g}, gradients "
            f"that differ by {gradient:.2g}. Nothing was timed."
        )
    return {"loss": loss, "gradient": gradient}


def _plain_name(name: str) -> str:
    return name.removeprefix("module.")


def training_memory(side: dict[str, Any]) -> float:
    """Return the peak of the steps beyond imports, weights, gradients and AdamW state, bytes."""
    facts = side["facts"]
    peak = max(step["peak"] for step in side["steps"])
    owned = WEIGHT_BYTES * facts["parameters"] + STATE_BYTES * facts["trained"]
    return peak - facts["base"] - owned
