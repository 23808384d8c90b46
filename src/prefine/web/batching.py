"""Score what many requests ask for in common batches.

One batch is computed at a time, in a thread of its own. What arrives meanwhile waits, and the next
batch takes the oldest of it: a single request waits for nobody, and many share their batches.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

Score = Callable[[Sequence[Any]], Sequence[Any]]
"""Takes a batch; returns a value for each item, or the exception that the item raised."""


class Overloaded(Exception):
    """Too much is waiting already."""


class Batcher:
    """A queue of items, scored in batches.

    Args:
        score: Scores a batch; called from one thread, one batch at a time.
        size: Items of a batch at most.
        most: Items that may wait.

    Attributes:
        batches: How many batches were scored.
    """

    def __init__(self, score: Score, *, size: int = 16, most: int = 4096) -> None:
        self._score, self._size, self._most = score, size, most
        self._waiting: deque[tuple[Any, asyncio.Future[Any]]] = deque()
        self._arrived = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None
        self._is_stopping = False
        self.batches = 0

    async def start(self) -> None:
        """Begin to score."""
        self._is_stopping, self._arrived = False, asyncio.Event()
        self._worker = asyncio.create_task(self._work())

    async def stop(self) -> None:
        """End after the batch at hand; what still waits is told that it will not be scored."""
        self._is_stopping = True
        self._arrived.set()
        if self._worker is not None:
            await self._worker
        for _, answer in self._waiting:
            if not answer.done():
                answer.set_exception(Overloaded("the server is stopping"))
        self._waiting.clear()

    async def ask(self, items: Sequence[Any]) -> list[Any]:
        """Return the value of each item, or raise what the first of them raised.

        Raises:
            Overloaded: If too much is waiting; nothing of the request was taken.
        """
        if self._is_stopping:
            raise Overloaded("the server is stopping")
        if len(self._waiting) + len(items) > self._most:
            raise Overloaded(f"{len(self._waiting)} queries are waiting already")
        loop = asyncio.get_running_loop()
        answers = [loop.create_future() for _ in items]
        self._waiting.extend(zip(items, answers, strict=True))
        self._arrived.set()
        try:
            return list(await asyncio.gather(*answers))
        finally:
            for answer in answers:  # the client went, or one of its items failed
                answer.cancel()

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1, thread_name_prefix="prefine-score") as thread:
            while not self._is_stopping:
                batch = self._take()
                if not batch:
                    self._arrived.clear()
                    await self._arrived.wait()
                    continue
                items = [item for item, _ in batch]
                try:
                    values = await loop.run_in_executor(thread, self._score, items)
                except Exception as error:  # the batch is lost, the server goes on
                    values = [error] * len(batch)
                self.batches += 1
                for (_, answer), value in zip(batch, values, strict=True):
                    _settle(answer, value)

    def _take(self) -> list[tuple[Any, asyncio.Future[Any]]]:
        batch: list[tuple[Any, asyncio.Future[Any]]] = []
        while self._waiting and len(batch) < self._size:
            item, answer = self._waiting.popleft()
            if not answer.done():  # else nobody waits for it any more
                batch.append((item, answer))
        return batch


def _settle(answer: "asyncio.Future[Any]", value: Any) -> None:
    if answer.done():
        return
    if isinstance(value, Exception):
        answer.set_exception(value)
    else:
        answer.set_result(value)
