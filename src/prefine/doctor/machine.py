"""Devices and their backends, the settings of a process, and room on disk."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prefine.doctor.checks import Check
from prefine.storage import cache_folder

LITTLE = 10 * 2**30
"""Bytes on a disk below which a model of use hardly fits."""

FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16")
"""Processor flags that decide how fast products are."""


def about_devices() -> Iterator[Check]:
    """Say what torch can compute on."""
    import torch

    yield Check("devices", "cpu", "ok", _processor(torch))
    yield Check("devices", "oneDNN", *_present(torch.backends.mkldnn.is_available()))
    yield Check("devices", "MKL", *_present(torch.backends.mkl.is_available()))
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            facts = torch.cuda.get_device_properties(number)
            says = f"{facts.name}, {facts.total_memory / 2**30:.0f} GiB, CUDA {torch.version.cuda}"
            yield Check("devices", f"cuda:{number}", "ok", says)
    else:
        built = torch.version.cuda
        says = f"none found, though torch was built for CUDA {built}" if built else "none"
        yield Check("devices", "cuda", "note", says)
    yield Check("devices", "mps", *_present(torch.backends.mps.is_available()))


def about_settings() -> Iterator[Check]:
    """Say what `prefine train` would set on this machine, found out in this process."""
    import torch

    from prefine.engine.tune import tune

    for says in [] if torch.accelerator.is_available() else tune():
        yield Check("settings", "prefine train", "ok", says)
    threads = os.environ.get("OMP_NUM_THREADS", "as many as cores")
    yield Check("settings", "threads", "ok", f"OMP_NUM_THREADS: {threads}; {_cores()} cores")


def about_disk() -> Iterator[Check]:
    """Say how much room there is where models, scores and runs are kept."""
    hub = Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface"))
    places = {"cache": cache_folder(), "models of the Hub": hub, "working folder": Path.cwd()}
    for name, folder in places.items():
        place = folder
        while not place.exists():
            place = place.parent
        free = shutil.disk_usage(place).free
        says = f"{free / 2**30:,.1f} GiB free, {folder}"
        if not os.access(place, os.W_OK):
            yield Check("disk", name, "note", f"{says}, which cannot be written to")
        elif free < LITTLE:
            yield Check("disk", name, "note", f"{says}: little for models", "make room")
        else:
            yield Check("disk", name, "ok", says)


def _present(is_there: bool) -> tuple[Any, str]:
    return ("ok", "there") if is_there else ("note", "none")


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor(torch: Any) -> str:
    """The processor's name, the vector units that torch found, and flags that matter."""
    name, flags = "unknown", set[str]()
    try:  # Linux alone
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            name = value.strip()
        if key.strip() in ("flags", "Features"):
            flags = set(value.split())
    has = [feature for feature in FEATURES if feature in flags]
    units = torch.backends.cpu.get_cpu_capability()
    return f"{name}, {_cores()} cores, torch uses {units}; {', '.join(has) or 'flags unknown'}"
