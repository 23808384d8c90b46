"""A ladder takes key parts alone, a share at a time, and never gives one back."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefine.errors import ConfigError
from prefine.records.ladders import ladder


@settings(deadline=None)
@given(st.integers(0, 12), st.integers(1, 5), st.integers(0, 99), st.data())
def test_versions(length: int, steps: int, seed: int, data: st.DataObject) -> None:
    keys = data.draw(st.sets(st.integers(0, length - 1))) if length else set[int]()
    parts = list(range(length))
    kept = ladder(parts, keys, steps=steps, filler=-1, rng=random.Random(seed))
    removed = ladder(parts, keys, steps=steps, rng=random.Random(seed))
    assert len(kept) == len(removed) == steps + 1
    assert kept[0] == removed[0] == parts
    gone: set[int] = set()
    for degree, (version, shorter) in enumerate(zip(kept, removed, strict=True)):
        now = {at for at, part in enumerate(version) if part == -1}
        assert gone <= now <= keys
        assert len(now) == round(degree / steps * len(keys))
        assert [part for part in version if part != -1] == shorter
        gone = now
    assert gone == keys


@pytest.mark.parametrize(("keys", "steps"), [([3], 3), ([-1], 3), ([0], 0)])
def test_what_cannot_be_is_refused(keys: list[int], steps: int) -> None:
    with pytest.raises(ConfigError, match="A ladder has 1 step or more"):
        ladder("abc", keys, steps=steps, rng=random.Random(0))
