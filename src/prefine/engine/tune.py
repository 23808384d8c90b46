"""Two settings of a process that cost nothing on CPU and that nobody finds by chance.

- glibc gives blocks of 32 MiB and more back to the system at every free, so that each large
  temporary is paged in anew. Told to keep them, it reuses them.
- On AMD processors torch multiplies float32 matrices with MKL's older kernels; oneDNN's are about
  twice as fast and as exact. `set_float32_matmul_precision("medium")` chooses them there. On
  processors with AMX the same words mean bfloat16, so what they do is measured before they stay.

This file imports nothing of prefine: the benchmark gives TRL the same settings.
"""

import ctypes
import platform
from pathlib import Path

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
ROUNDING = 1e-5
"""Largest error of a float32 product, relative to its largest entry, that is still float32."""


def tune() -> list[str]:
    """Apply what helps on this machine.

    Returns:
        A sentence for each setting that was changed, for the run's header.
    """
    done: list[str] = []
    if keep_freed_memory():
        done.append("freed memory stays in the process (fewer page faults)")
    if use_onednn():
        done.append("float32 products run in oneDNN, as exact and faster on this processor")
    return done


def keep_freed_memory() -> bool:
    """Tell glibc to keep what is freed; False where the allocator is another one."""
    if platform.system() != "Linux" or platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    settings = ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1), (M_TOP_PAD, 64 << 20))
    return all(libc.mallopt(name, value) == 1 for name, value in settings)


def use_onednn() -> bool:
    """Choose oneDNN for float32 products on AMD, if they stay exact."""
    import torch

    processor = _processor()
    if "AuthenticAMD" not in processor or "amx" in processor:
        return False
    if not torch.backends.mkldnn.is_available():
        return False
    before = torch.get_float32_matmul_precision()
    if before != "highest":
        return False
    torch.set_float32_matmul_precision("medium")
    if _error() < ROUNDING:
        return True
    torch.set_float32_matmul_precision(before)
    return False


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _error() -> float:
    """Error of a float32 product against float64, relative to its largest entry."""
    import torch

    generator = torch.Generator().manual_seed(0)
    one, other = (torch.randn(256, 256, generator=generator) for _ in range(2))
    exact = one.double() @ other.double()
    return float(((one @ other).double() - exact).abs().max() / exact.abs().max())
