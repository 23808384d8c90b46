"""Batches are made while a step is being computed, so that no step waits for its data."""

from collections.abc import Iterator
from contextlib import suppress
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import Any

PATIENCE = 0.05
"""Seconds between two looks at whether a waiting thread is still wanted."""

LONGEST = 60.0
"""Seconds that a batch which is being made is waited for."""


class Ahead:
    """Draws from an iterator in a thread of its own, up to `depth` items ahead.

    What the iterator raises is raised where its items are taken.

    Args:
        source: The iterator; nobody else may draw from it.
        depth: How many items wait to be taken at most.

    Example:
        >>> list(Ahead(iter("ab"), depth=1))
        ['a', 'b']
    """

    def __init__(self, source: Iterator[Any], depth: int) -> None:
        self.source = source
        self._queue: Queue[tuple[Any, BaseException | None]] = Queue(depth)
        self._closed = Event()
        self._ended: BaseException | None = None
        self.thread = Thread(target=self._draw, name="prefine-data", daemon=True)
        self.thread.start()

    def __iter__(self) -> "Ahead":
        return self

    def __next__(self) -> Any:
        if self._ended is not None:
            raise self._ended
        item, self._ended = self._queue.get()
        if self._ended is not None:
            raise self._ended
        return item

    def close(self) -> None:
        """Stop drawing; what waits is dropped, and a batch that is being made is waited for.

        A thread that is still at work when the program ends would bring it down.
        """
        self._closed.set()
        self._ended = self._ended or StopIteration()
        with suppress(Empty):
            while True:
                self._queue.get_nowait()
        self.thread.join(LONGEST)

    def _draw(self) -> None:
        try:
            for item in self.source:
                if not self._put((item, None)):
                    return
            self._put((None, StopIteration()))
        except BaseException as error:  # raised again where the items are taken
            self._put((None, error))

    def _put(self, entry: tuple[Any, BaseException | None]) -> bool:
        while not self._closed.is_set():
            try:
                self._queue.put(entry, timeout=PATIENCE)
            except Full:
                continue
            return True
        return False
