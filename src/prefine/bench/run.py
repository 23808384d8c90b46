"""Runs a case: both sides in processes of their own, in turn, the same step each time."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from prefine.bench.cases import Case
from prefine.errors import BenchError

HERE = Path(__file__).parent

SAME = {"float32": (1e-4, 1e-3), "mixed": (1e-2, 1e-1), "bfloat16": (1e-2, 1e-1)}
"""Precision -> largest relative difference of the first step's loss and of its gradients."""


class DoesNotFit(BenchError):
    """The device's memory does not suffice for a side."""


@dataclass(slots=True)
class Side:
    """A process that does a step when it is told to.

    Attributes:
        name: `prefine`, or what it is compared with.
        process: Its process.
        facts: What it said when it was ready.
        steps: What each step took: `seconds` (of the CPU, or on the GPU) and `wall`, `peak`
            bytes, and the `loss`, or the `scores`.
    """

    name: str
    process: subprocess.Popen[str]
    facts: dict[str, Any] = field(default_factory=dict)
    steps: list[dict[str, Any]] = field(default_factory=list)

    def hear(self) -> dict[str, Any]:
        """Read an answer.

        Raises:
            DoesNotFit: If the memory of its device does not suffice.
            BenchError: If the process ended instead; with the end of what it printed.
        """
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            said = (self.process.stderr.read() if self.process.stderr else "") or ""
            raise BenchError(f"the side of {self.name} stopped: {said.strip()[-1500:]}")
        answer = json.loads(line)
        if answer.get("does_not_fit"):
            raise DoesNotFit(f"does not fit in this device's memory: {self.name}")
        return answer

    def step(self) -> None:
        """Let it do a step, and keep what it took."""
        self.steps.append(self._told("go"))

    def profile(self) -> dict[str, float]:
        """Let it do a step that is not timed, and return where its time goes (see `shares`)."""
        return self._told("profile")["profile"]

    def _told(self, word: str) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()
        return self.hear()


def run_case(
    case: Case, *, trl_python: str, pairs: int, threads: int, gauged: bool = True
) -> dict[str, Any]:
    """Time a case.

    Args:
        case: The work.
        trl_python: A Python that has TRL.
        pairs: How many pairs of steps are timed.
        threads: Threads of each side; while one works the other waits.
        gauged: Whether a third process measures the machine, too.

    Returns:
        The case, what each side said, its steps, how their first steps compare, and how fast this
        machine multiplies matrices of the steps' shapes.

    Raises:
        DoesNotFit: If the memory of the device does not suffice for a side.
        BenchError: If a side fails, or both do not compute the same loss and gradients.
    """
    steps = case.steps + pairs
    with tempfile.TemporaryDirectory(prefix="prefine-bench-") as name:
        folder = Path(name)
        commands = {
            side: [*command, json.dumps(_given(case, side, steps + 1, name, threads))]
            for side, command in _commands(case, trl_python).items()
        }
        sides: list[Side] = []
        with _ended(sides):
            for side, command in commands.items():  # one at a time: how long a start takes counts
                sides.append(_start(side, command, case.device, threads))
                sides[-1].facts = sides[-1].hear()
            agreement: dict[str, float] = {}
            for number in range(steps):
                order = sides if number % 2 == 0 else sides[::-1]
                for side in order:
                    side.step()
                if number == 0:
                    agreement = compare_first_steps(sides, folder, case)
            profile = sides[0].profile() if case.device == "cpu" else None
        return {
            "case": case.to_json(),
            "threads": threads,
            "agreement": agreement,
            "profile": profile,
            "gauge": (_gauge(case, sides[0].facts["products"], steps, threads) if gauged else None),
            "sides": {
                side.name: {
                    "facts": {**side.facts, "first_step": _first_step(side)},
                    "steps": [_plain_step(step) for step in side.steps[case.steps :]],
                }
                for side in sides
            },
        }


def _commands(case: Case, trl_python: str) -> dict[str, list[str]]:
    ours = [sys.executable, "-m", "prefine.bench.side_prefine"]
    others = {
        "trl": [trl_python, str(HERE / "side_trl.py")],
        "unshared": ours,
        "padded": [sys.executable, str(HERE / "side_padded.py")],
        "diffusers": [sys.executable, str(HERE / "side_diffusers.py")],
    }
    if case.against == "diffusers":
        ours = [sys.executable, "-m", "prefine.bench.side_pictures"]
    return {"prefine": ours, case.against: others[case.against]}


def _given(case: Case, side: str, steps: int, folder: str, threads: int) -> dict[str, Any]:
    theirs = case.of(case.against)
    other = {"reference": theirs.reference, "checkpointing": theirs.checkpointing}
    fields = {**case.of(side).to_json(), "side": side, "other": other}
    return {"case": fields, "steps": steps, "folder": folder, "threads": threads}


def _quiet(device: str, threads: int) -> dict[str, str]:
    quiet = {
        "OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE", "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false", "TQDM_DISABLE": "1",
    }  # fmt: skip
    return {**os.environ, **quiet, **({"CUDA_VISIBLE_DEVICES": ""} if device == "cpu" else {})}


def _start(name: str, command: list[str], device: str, threads: int) -> Side:
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, env=_quiet(device, threads),
    )  # fmt: skip
    return Side(name, process)


@contextmanager
def _ended(sides: Sequence[Side]) -> Iterator[None]:
    try:
        yield
    finally:
        for side in sides:
            side.process.kill()
            side.process.communicate()


def _first_step(side: Side) -> float:
    """Seconds from the start of the process to the end of its first step, its waiting left out."""
    return side.facts["until_ready"] + side.steps[0]["wall"]


def _plain_step(step: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in step.items() if name != "scores"}


def _gauge(case: Case, products: Sequence[Any], steps: int, threads: int) -> dict[str, Any]:
    """Return what a fresh process estimates, and how fast it multiplies (see `gauge`)."""
    given = {"case": {**case.to_json(), "side": "prefine"}, "steps": steps, "threads": threads}
    done = subprocess.run(
        [sys.executable, "-m", "prefine.bench.gauge"],
        input=json.dumps({**given, "products": [product for product, _ in products]}),
        capture_output=True, text=True, env=_quiet(case.device, threads), check=False,
    )  # fmt: skip
    if done.returncode:
        raise BenchError(f"the machine was not measured: {done.stderr[-1500:]}")
    return json.loads(done.stdout.splitlines()[-1])


def compare_first_steps(sides: Sequence[Side], folder: Path, case: Case) -> dict[str, float]:
    """Return how far apart loss and gradients, or scores, of both sides' first steps are.

    Raises:
        BenchError: If further than rounding explains: then they do not do the same work.
    """
    if case.task == "score":
        return _compare_scores(*(np.asarray(side.steps[0]["scores"]) for side in sides))
    ours, theirs = (side.steps[0]["loss"] for side in sides)
    loss = abs(ours - theirs) / max(abs(theirs), 1e-12)
    gradient = _gradient_gap(*(_gradients(folder / f"{side.name}.safetensors") for side in sides))
    same_loss, same_gradient = SAME[case.precision]
    if not (loss <= same_loss and gradient <= same_gradient):
        raise BenchError(
            f"both sides compute different things: losses {ours:.6g} and {theirs:.6g}, gradients "
            f"that differ by {gradient:.2g}. Nothing was timed."
        )
    return {"loss": loss, "gradient": gradient}


def _compare_scores(ours: Any, theirs: Any) -> dict[str, float]:
    gap = float(np.abs(ours - theirs).max() / np.abs(theirs).max())
    if not gap <= SAME["float32"][0]:
        raise BenchError(f"both sides' scores differ by {gap:.2g}. Nothing was timed.")
    return {"scores": gap}


def _gradients(path: Path) -> dict[str, Any]:
    from safetensors.numpy import load_file

    return {name.removeprefix("module."): table for name, table in load_file(path).items()}


def _gradient_gap(ours: dict[str, Any], theirs: dict[str, Any]) -> float:
    if ours.keys() != theirs.keys():
        odd = sorted(ours.keys() ^ theirs.keys())
        raise BenchError(f"both sides train other parameters: {', '.join(odd[:4])}")
    size = max(float(np.abs(table).max()) for table in theirs.values())
    return max(
        float(np.abs(table - theirs[name]).max())
        / max(float(np.abs(theirs[name]).max()), 1e-3 * size)
        for name, table in ours.items()
    )


def training_memory(side: dict[str, Any]) -> float:
    """Return the peak of the steps beyond imports, weights, gradients and AdamW state, bytes."""
    facts = side["facts"]
    return max(step["peak"] for step in side["steps"]) - facts["base"] - facts["owned"]
