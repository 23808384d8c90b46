"""Several processes: who goes first, and whether sharding is what was asked for."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from prefine.errors import ConfigError


def is_main() -> bool:
    """Whether this is the process that writes files."""
    return int(os.environ.get("RANK", "0")) == 0


@contextmanager
def main_first() -> Iterator[None]:
    """Let the main process run the block first, so that the others find its files."""
    from accelerate import PartialState

    with PartialState().main_process_first():
        yield


def best_device() -> Any:
    """Return the device that this process will train on."""
    from accelerate import PartialState

    return PartialState().device


def uses_fsdp() -> bool:
    """Whether the accelerate profile asks for FSDP."""
    return os.environ.get("ACCELERATE_USE_FSDP", "false").lower() in ("1", "true")


def check_fsdp(trainer: Any) -> None:
    """Stop if FSDP was asked for and something else would run.

    accelerate falls back to DDP without a word where it cannot shard (on CPU, for one).

    Raises:
        ConfigError: If the profile asks for FSDP and the accelerator has another strategy.
    """
    if not uses_fsdp():
        return
    got = str(trainer.accelerator.distributed_type)
    if not got.endswith("FSDP"):
        raise ConfigError(
            f"The accelerate profile asks for FSDP, but this machine gave {got}: the model would "
            "not be sharded. Start without the profile, or on devices that FSDP supports."
        )
