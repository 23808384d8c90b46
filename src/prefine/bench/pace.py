"""How a side of the benchmark waits its turn: a step when it is told to, then its figures.

Both sides' processes use this file; it imports nothing of prefine. On standard input the other
process writes `go`; on standard output a line of JSON answers.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback


class Paced(TrainerCallback):
    """Runs one optimizer step a turn.

    Args:
        facts: What is known before the first step, sent with the first answer.
        gradients: Where the gradients of the first step are written.
    """

    def __init__(self, facts: dict[str, Any], gradients: Path) -> None:
        self._answers = os.dup(1)
        os.dup2(2, 1)  # what libraries print goes to standard error
        self.facts, self.gradients, self.loss = facts, gradients, float("nan")
        self._cpu = self._wall = 0.0

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        """Say that everything is ready, and wait."""
        self._answer({"ready": True, **self.facts})
        reset_peak()
        self._wait()

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Write the gradients of the first step."""
        if state.global_step == 0:
            from safetensors.torch import save_file

            named = more["model"].named_parameters()
            found = {name: p.grad.contiguous() for name, p in named if p.grad is not None}
            save_file(found, self.gradients)

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Answer with what the step took, and wait."""
        wall, cpu = time.perf_counter() - self._wall, cpu_seconds() - self._cpu
        self._answer({"wall": wall, "cpu": cpu, "peak": memory("VmHWM"), "loss": self.loss})
        self._wait()

    def _answer(self, facts: dict[str, Any]) -> None:
        os.write(self._answers, (json.dumps(facts) + "\n").encode())

    def _wait(self) -> None:
        if sys.stdin.readline().strip() != "go":
            os._exit(0)
        self._wall, self._cpu = time.perf_counter(), cpu_seconds()


def watch_loss(trainer: Any, paced: Paced) -> None:
    """Let the callback see each step's loss, which the Trainer keeps to itself."""
    plain = trainer.training_step

    def training_step(*args: Any, **kwargs: Any) -> Any:
        loss = plain(*args, **kwargs)
        paced.loss = float(loss)
        return loss

    trainer.training_step = training_step


def cpu_seconds() -> float:
    """CPU time of this process so far, user and system."""
    times = os.times()
    return times.user + times.system


def memory(name: str) -> int:
    """A line of /proc/self/status, bytes."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {name}: the benchmark of memory needs Linux.")


def reset_peak() -> None:
    """Start the peak of memory anew."""
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
