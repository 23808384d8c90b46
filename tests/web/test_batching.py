"""The queue: common batches, each answer to its asker, and no more waiting than is allowed."""

import asyncio
import threading
from collections.abc import Sequence

import pytest

from prefine.web import Batcher, Overloaded


def test_requests_that_wait_share_a_batch() -> None:
    sizes: list[int] = []
    opened = threading.Event()

    def score(items: Sequence[int]) -> list[int]:
        sizes.append(len(items))
        opened.wait(10)
        return [10 * item for item in items]

    async def run() -> list[list[int]]:
        batcher = Batcher(score, size=4)
        await batcher.start()
        first = asyncio.create_task(batcher.ask([0]))
        while not sizes:  # the first is computed alone, since nothing else was there
            await asyncio.sleep(0.01)
        others = [asyncio.create_task(batcher.ask([n, -n])) for n in range(1, 4)]
        await asyncio.sleep(0)
        opened.set()
        found = await asyncio.gather(first, *others)
        await batcher.stop()
        assert batcher.batches == 3
        return found

    assert asyncio.run(run()) == [[0], [10, -10], [20, -20], [30, -30]]
    assert sizes == [1, 4, 2]


def test_an_error_of_an_item_is_its_own() -> None:
    def score(items: Sequence[int]) -> list[int | Exception]:
        return [ValueError("odd") if item % 2 else item for item in items]

    async def run() -> list[object]:
        batcher = Batcher(score)
        await batcher.start()
        found = await asyncio.gather(
            batcher.ask([2]), batcher.ask([4, 3, 5]), batcher.ask([6]), return_exceptions=True
        )
        await batcher.stop()
        return found

    first, second, third = asyncio.run(run())
    assert (first, third) == ([2], [6])
    assert isinstance(second, ValueError)


def test_a_batch_that_fails_does_not_stop_the_server() -> None:
    calls = iter([RuntimeError("out of memory"), None])

    def score(items: Sequence[int]) -> list[int]:
        error = next(calls)
        if error:
            raise error
        return list(items)

    async def run() -> list[int]:
        batcher = Batcher(score)
        await batcher.start()
        with pytest.raises(RuntimeError, match="out of memory"):
            await batcher.ask([1])
        found = await batcher.ask([2])
        await batcher.stop()
        return found

    assert asyncio.run(run()) == [2]


def test_more_than_may_wait_is_refused_whole() -> None:
    opened = threading.Event()
    seen: list[int] = []

    def score(items: Sequence[int]) -> list[int]:
        seen.extend(items)
        opened.wait(10)
        return list(items)

    async def run() -> None:
        batcher = Batcher(score, size=1, most=3)
        await batcher.start()
        waiting = [asyncio.create_task(batcher.ask([0]))]
        await asyncio.sleep(0.05)  # it is computed, so three more may wait
        waiting += [asyncio.create_task(batcher.ask([n])) for n in range(1, 4)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="3 queries are waiting"):
            await batcher.ask([9])
        opened.set()
        assert await asyncio.gather(*waiting) == [[0], [1], [2], [3]]
        await batcher.stop()
        with pytest.raises(Overloaded, match="stopping"):
            await batcher.ask([1])

    asyncio.run(run())
    assert seen == [0, 1, 2, 3], "who waited longest comes first"


def test_what_nobody_waits_for_is_not_scored() -> None:
    seen: list[int] = []
    opened = threading.Event()

    def score(items: Sequence[int]) -> list[int]:
        seen.extend(items)
        opened.wait(10)
        return list(items)

    async def run() -> None:
        batcher = Batcher(score, size=1)
        await batcher.start()
        tasks = [asyncio.create_task(batcher.ask([n])) for n in range(3)]
        await asyncio.sleep(0.05)
        tasks[1].cancel()
        await asyncio.sleep(0)
        opened.set()
        await asyncio.gather(tasks[0], tasks[2])
        await batcher.stop()

    asyncio.run(run())
    assert seen == [0, 2]


def test_stopping_finishes_the_batch_at_hand_and_refuses_the_rest() -> None:
    opened = threading.Event()

    def score(items: Sequence[int]) -> list[int]:
        opened.wait(10)
        return list(items)

    async def run() -> list[object]:
        batcher = Batcher(score, size=1)
        await batcher.start()
        tasks = [asyncio.create_task(batcher.ask([n])) for n in range(2)]
        await asyncio.sleep(0.05)
        stopping = asyncio.create_task(batcher.stop())
        await asyncio.sleep(0)
        opened.set()
        await stopping
        return await asyncio.gather(*tasks, return_exceptions=True)

    first, second = asyncio.run(run())
    assert first == [0]
    assert isinstance(second, Overloaded)
