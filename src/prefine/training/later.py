"""Numbers that are looked at later, so that no step waits for the device to finish another.

Reading a number from a device stops the host until everything before it is computed, and the
device then idles until it is given more. A step leaves what it wants to be read here; copies
travel while the next step is being handed to the device.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

Use = Callable[[Sequence[float]], None]


@dataclass
class Later:
    """Reads numbers `lag` turns after they were left; at once where `lag` is 0.

    Attributes:
        lag: Turns to wait. On the host there is nothing to wait for.

    Example:
        >>> later, seen = Later(lag=1), []
        >>> later.read(torch.ones(2), seen.append)
        >>> later.turn(), seen
        (None, [])
        >>> later.turn(), seen
        (None, [[1.0, 1.0]])
    """

    lag: int
    _left: list[list[tuple[Tensor, Use]]] = field(default_factory=lambda: [[]])
    _events: list[torch.Event | None] = field(default_factory=list[torch.Event | None])

    def read(self, values: Tensor, use: Use) -> None:
        """Leave [n] numbers for `use`, in order."""
        values = values.detach()
        if self.lag == 0:
            use(values.tolist())
        else:
            self._left[-1].append((values.to("cpu", non_blocking=True), use))

    def turn(self) -> None:
        """End a turn, and read what was left `lag` turns before it."""
        self._end(unread=self.lag)

    def flush(self) -> None:
        """Read everything now."""
        self._end(unread=0)

    def _end(self, unread: int) -> None:
        self._events.append(_mark())
        self._left.append([])
        while len(self._left) > unread + 1:
            event = self._events.pop(0)
            if event is not None:
                event.synchronize()
            for values, use in self._left.pop(0):
                use(values.tolist())


def _mark() -> torch.Event | None:
    """Mark what the device was given so far; None where there is none."""
    if not torch.accelerator.is_available():
        return None
    event = torch.Event()
    event.record()
    return event
