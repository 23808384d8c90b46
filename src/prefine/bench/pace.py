"""How a side of the benchmark waits its turn: a step when it is told to, then its figures.

All sides' processes use this file; it imports nothing of prefine. On standard input the other
process writes `go`, or `profile`; on standard output a line of JSON answers.
"""

import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

SAVED = {"cpu": 1 << 27, "cuda": 1 << 18}
"""Entries of a parameter's gradient that are compared; of a larger one, evenly chosen ones."""


class ProcessMeter:
    """CPU seconds and resident memory of this process."""

    def start(self) -> None:
        """Begin a step."""
        self._wall, self._seconds = time.perf_counter(), time.process_time()

    def stop(self) -> dict[str, float]:
        """Return what the step took: seconds at work and by the clock, and the peak in bytes."""
        wall, seconds = time.perf_counter() - self._wall, time.process_time() - self._seconds
        return {"seconds": seconds, "wall": wall, "peak": memory("VmHWM")}

    def held(self) -> int:
        """Return the bytes in use."""
        return memory("VmRSS")

    def reset_peak(self) -> None:
        """Start the peak of memory anew."""
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


class CudaMeter:
    """Seconds between two events on the GPU, and the memory that its tensors take."""

    def __init__(self) -> None:
        import torch

        self.cuda = torch.cuda

    def start(self) -> None:
        """Begin a step."""
        self.cuda.synchronize()
        self._from = self.cuda.Event(enable_timing=True)
        self._to = self.cuda.Event(enable_timing=True)
        self._wall = time.perf_counter()
        self._from.record()

    def stop(self) -> dict[str, float]:
        """Return what the step took: seconds on the GPU and by the clock, and the peak in bytes."""
        self._to.record()
        self.cuda.synchronize()
        wall, seconds = time.perf_counter() - self._wall, self._from.elapsed_time(self._to) / 1000
        return {"seconds": seconds, "wall": wall, "peak": self.cuda.max_memory_allocated()}

    def held(self) -> int:
        """Return the bytes in use."""
        return self.cuda.memory_allocated()

    def reset_peak(self) -> None:
        """Start the peak of memory anew."""
        self.cuda.reset_peak_memory_stats()


METERS: dict[str, Callable[[], Any]] = {"cpu": ProcessMeter, "cuda": CudaMeter}
"""Device -> what reads clock and memory there."""


class Turns:
    """One step a turn.

    Args:
        device: `cpu` or `cuda`.
        profile: Watches the steps for which it is asked, between `start()` and `stop()`.
    """

    def __init__(self, device: str, profile: Any = None) -> None:
        self._answers = os.dup(1)
        os.dup2(2, 1)  # what libraries print goes to standard error
        self.device, self.meter = device, METERS[device]()
        self._profile, self._watches = profile, False

    def ready(self, facts: dict[str, Any]) -> None:
        """Say that everything is ready, and wait."""
        self._answer({"until_ready": age(), **facts})
        self.meter.reset_peak()
        self._wait()

    def done(self, facts: dict[str, Any]) -> None:
        """Answer with what the step took, and wait."""
        facts = {**self.meter.stop(), **facts}
        if self._watches:
            facts["profile"] = self._profile.stop()
        self._answer(facts)
        self._wait()

    def does_not_fit(self) -> None:
        """Say that the memory of the device does not suffice."""
        self._answer({"does_not_fit": True})

    def _answer(self, facts: dict[str, Any]) -> None:
        os.write(self._answers, (json.dumps(facts) + "\n").encode())

    def _wait(self) -> None:
        word = sys.stdin.readline().strip()
        if word not in ("go", "profile"):
            os._exit(0)
        self._watches = word == "profile"
        if self._watches:
            self._profile.start()
        self.meter.start()


class Paced(TrainerCallback):
    """Lets a Trainer run one optimizer step a turn.

    Args:
        turns: When to run.
        facts: What is known before the first step, sent with the first answer.
        gradients: Where the gradients of the first step are written.
    """

    def __init__(self, turns: Turns, facts: dict[str, Any], gradients: Path) -> None:
        self.turns, self.facts, self.gradients = turns, facts, gradients
        self.loss: Any = float("nan")

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        """Say that everything is ready, and wait."""
        self.turns.ready(self.facts)

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Write the gradients of the first step."""
        if state.global_step == 0:
            keep_gradients(more["model"], self.turns, self.gradients)

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Answer with what the step took, and wait."""
        self.turns.done({"loss": float(self.loss)})


def keep_gradients(model: Any, turns: Turns, path: Path) -> None:
    """Write the gradients of a model by name."""
    from safetensors.torch import save_file

    most = SAVED[turns.device]
    named = model.named_parameters()
    save_file({name: _some(p.grad, most) for name, p in named if p.grad is not None}, path)


def _some(gradient: Any, most: int) -> Any:
    return gradient.flatten()[:: -(-gradient.numel() // most)].float().cpu().contiguous()


def watch_loss(trainer: Any, paced: Paced) -> None:
    """Let the callback see each step's loss, which the Trainer keeps to itself."""
    plain = trainer.training_step

    def training_step(*args: Any, **kwargs: Any) -> Any:
        paced.loss = plain(*args, **kwargs)
        return paced.loss

    trainer.training_step = training_step


def begin(profile: Any = None) -> tuple[dict[str, Any], Turns]:
    """Start the process of a side: its settings first, then torch.

    Returns:
        What the other process said on the command line, and the turns.
    """
    given = json.loads(sys.argv[1])
    turns = Turns(given["case"]["device"], profile)
    if given["case"]["tuned"]:
        tune()
    import torch

    torch.set_num_threads(given["threads"])
    return given, turns


def run(turns: Turns, work: Callable[[], None]) -> None:
    """Do the work of a side; where the device's memory does not suffice, say so."""
    import torch

    try:
        work()
    except torch.OutOfMemoryError:
        turns.does_not_fit()


def tune() -> None:
    """Apply the settings of `engine.tune` without importing prefine."""
    path = Path(__file__).parents[1] / "engine" / "tune.py"
    spec = importlib.util.spec_from_file_location("tune", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.tune()


def age() -> float:
    """Seconds since this process began, its imports included."""
    began = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(began) / os.sysconf("SC_CLK_TCK")


def memory(name: str) -> int:
    """A line of /proc/self/status, bytes."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {name}: the benchmark of memory needs Linux.")
