"""Drawing ahead: nothing lost, errors where they are taken, and it really is ahead."""

import time
from collections.abc import Iterator
from threading import Event

import pytest

from prefine.training.ahead import Ahead


def test_items_come_whole_and_in_order() -> None:
    assert list(Ahead(iter(range(100)), depth=3)) == list(range(100))


def test_an_error_is_raised_where_its_item_would_be() -> None:
    def breaks() -> Iterator[int]:
        yield 1
        raise KeyError("torn")

    ahead = Ahead(breaks(), depth=4)
    assert next(ahead) == 1
    for _ in range(2):
        with pytest.raises(KeyError, match="torn"):
            next(ahead)


def test_the_next_item_is_made_while_one_is_used() -> None:
    made = Event()

    def source() -> Iterator[int]:
        yield 1
        made.set()
        yield 2

    ahead = Ahead(source(), depth=1)
    assert next(ahead) == 1
    assert made.wait(timeout=10), "nobody asked for the second item, and yet it is made"
    ahead.close()


def test_no_more_than_its_depth_is_drawn() -> None:
    drawn: list[int] = []

    def source() -> Iterator[int]:
        for n in range(10):
            drawn.append(n)
            yield n

    ahead = Ahead(source(), depth=2)
    time.sleep(0.3)
    assert len(drawn) <= 3, "two wait, one is in hand"
    ahead.close()


def test_a_closed_one_ends_its_thread() -> None:
    def source() -> Iterator[int]:
        for n in range(10**9):
            time.sleep(0.05 * (n > 0))  # each but the first takes a while to be made
            yield n

    ahead = Ahead(source(), depth=2)
    next(ahead)
    ahead.close()
    assert not ahead.thread.is_alive(), "at work when the program ends, it would bring it down"
    with pytest.raises(StopIteration):
        next(ahead)
