"""Packed rows: every item's tokens, in place, each prompt once."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from prefine.engine.layout import Group, Layout, pack, saved_share

TOKENS = st.lists(st.integers(0, 5), max_size=4)
ITEMS = st.lists(
    st.tuples(TOKENS, st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=4)),
    min_size=1,
    max_size=6,
)


def seen(layout: Layout, count: int) -> torch.Tensor:
    """[T, T] who sees whom, written out."""
    table = torch.zeros(count, count, dtype=torch.bool)
    for group in layout.groups:
        for before, own in group.segments():
            for at in range(*own):
                table[at, slice(*before)] = True
                table[at, own[0] : at + 1] = True
    return table


@given(ITEMS, st.booleans())
def test_every_item_reads_its_own_prompt_and_response(drawn, share: bool) -> None:
    items = [(prompt, [t for t, _ in rest], [int(m) for _, m in rest]) for prompt, rest in drawn]
    row = pack(items, share=share)
    ids, positions = row.input_ids[0], row.position_ids[0]
    sees = seen(row.layout, len(ids))
    for n, (prompt, response, mask) in enumerate(items):
        whole = [*prompt, *response]
        if whole:
            context = sees[row.last[n]]
            assert ids[context].tolist() == whole
            assert positions[context].tolist() == list(range(len(whole)))
        mine = row.item == n
        expected = [
            (whole[:at], whole[at])
            for at in range(len(prompt), len(whole))
            if mask[at - len(prompt)] and at > 0
        ]
        found = [
            (ids[sees[source]].tolist(), int(target))
            for source, target in zip(row.source[mine], row.target[mine], strict=True)
        ]
        assert found == expected
        assert row.slot[mine].tolist() == list(range(len(expected)))
        assert int(row.units[n]) == len(expected)


def test_equal_prompts_stand_once_wherever_they_come_from() -> None:
    items = [([1, 2], [3], [1]), ([4], [5], [1]), ([1, 2], [6, 7], [1, 1])]
    shared, apart = pack(items), pack(items, share=False)
    assert shared.input_ids.tolist() == [[1, 2, 3, 6, 7, 4, 5]]
    assert shared.layout.groups == (Group((0, 2), ((2, 3), (3, 5))), Group((5, 7)))
    assert apart.tokens == 9
    assert shared.item.tolist() == [0, 1, 2, 2], "in the order of the items, not of the row"
    assert saved_share(items) == pytest.approx(2 / 9)


def test_it_moves_as_one() -> None:
    row = pack([([1], [2], [1])]).to("meta")
    assert row.input_ids.device.type == row.units.device.type == "meta"
