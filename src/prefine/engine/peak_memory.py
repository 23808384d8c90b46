"""The peak of memory while something runs: of the accelerator, or of this process on Linux.

On CPU pages count, not tensors: what the allocator holds beyond them is needed, too.
"""

import ctypes
import platform
from pathlib import Path

import torch

STATUS, CLEAR, MACHINE = (Path(f"/proc/{name}") for name in
                          ("self/status", "self/clear_refs", "meminfo"))  # fmt: skip


class PeakMemory:
    """Memory of a device from the last `start` on.

    Args:
        device: What computes.

    Raises:
        OSError: Where the system cannot say.
    """

    def __init__(self, device: torch.device) -> None:
        self.cuda = device.type == "cuda"
        if device.type not in ("cpu", "cuda") or (not self.cuda and platform.system() != "Linux"):
            raise OSError(f"the peak of memory is not known for {device.type} on this system")
        self.device = device
        self.start()

    def start(self) -> None:
        """Give back what is free, and begin anew."""
        if self.cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)
        else:
            trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
            if trim is not None:
                trim(0)
            CLEAR.write_text("5", encoding="utf-8")
        self.before = self.now()

    def now(self) -> int:
        """Bytes in use."""
        return torch.cuda.memory_allocated(self.device) if self.cuda else _line(STATUS, "VmRSS")

    def grown(self) -> int:
        """Bytes by which the peak since `start` is above what was in use then."""
        peak = torch.cuda.max_memory_allocated(self.device) if self.cuda else _line(STATUS, "VmHWM")
        return max(0, peak - self.before)

    def available(self) -> int:
        """Bytes that can still be had."""
        if self.cuda:
            return torch.cuda.mem_get_info(self.device)[0]
        return _line(MACHINE, "MemAvailable")


def _line(path: Path, name: str) -> int:
    """A line of a file of the system, bytes."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise OSError(f"{path} has no {name}")
