"""Alignment of tokens, against a plain reading of the same recurrence."""

import random

import numpy as np
import pytest
import torch

from prefine.adapters.alignment import edited, edited_tokens
from prefine.errors import ObjectiveError


def plain_gain(a: list[int], b: list[int]) -> int:
    """The best gain, cell by cell."""
    table = [[-j for j in range(len(b) + 1)]]
    for i, x in enumerate(a, 1):
        row = [-i]
        for j, y in enumerate(b, 1):
            row.append(max(table[-1][j - 1] + (1 if x == y else -1), table[-1][j] - 1, row[-1] - 1))
        table.append(row)
    return table[-1][-1]


def gain_of(a: list[int], b: list[int]) -> int:
    """The gain of the alignment that the flags describe: the same tokens are kept in both."""
    one, other = edited(a, b)
    kept = [x for x, flag in zip(a, one, strict=True) if not flag]
    assert kept == [y for y, flag in zip(b, other, strict=True) if not flag]
    gain, i, j = 0, 0, 0
    while i < len(a) or j < len(b):
        runs = [0, 0]
        while i < len(a) and one[i]:
            i, runs[0] = i + 1, runs[0] + 1
        while j < len(b) and other[j]:
            j, runs[1] = j + 1, runs[1] + 1
        gain -= max(runs)  # substitutions, and gaps for the rest
        if i < len(a):
            i, j, gain = i + 1, j + 1, gain + 1
    return gain


def test_it_finds_the_best_alignment():
    rng = random.Random(0)
    for _ in range(300):
        a, b = ([rng.randrange(4) for _ in range(rng.randrange(9))] for _ in range(2))
        assert gain_of(a, b) == plain_gain(a, b), (a, b)


@pytest.mark.parametrize(
    ("a", "b", "one", "other"),
    [
        ("abcd", "abXd", "0010", "0010"),  # substituted
        ("abce", "abe", "0010", "000"),  # deleted
        ("abe", "abXYe", "000", "00110"),  # inserted
        ("abc", "abc", "000", "000"),
        ("", "ab", "", "11"),
        ("ab", "", "11", ""),
    ],
)
def test_cases_worked_out_by_hand(a: str, b: str, one: str, other: str):
    found = edited([ord(c) for c in a], [ord(c) for c in b])
    assert ["".join(str(int(flag)) for flag in flags) for flags in found] == [one, other]


def test_it_is_not_what_difflib_finds():
    """The longest common run is not always in the best alignment."""
    import difflib

    a, b = [5, 1, 2, 3, 6, 7, 8, 9], [1, 2, 3, 5, 0, 6, 7, 8, 9]
    one, _ = edited(a, b)
    blocks = difflib.SequenceMatcher(None, a, b, autojunk=False).get_matching_blocks()
    by_difflib = np.ones(len(a), bool)
    for block in blocks:
        by_difflib[block.a : block.a + block.size] = False
    assert gain_of(a, b) == plain_gain(a, b)
    assert one.sum() <= by_difflib.sum()


def test_tokens_of_a_batch():
    tokens = torch.tensor([[0, 7, 8, 9], [7, 8, 5, 0], [7, 7, 7, 7], [1, 2, 0, 0]])
    mask = torch.tensor([[0, 1, 1, 1], [1, 1, 1, 0], [1, 1, 1, 1], [1, 1, 0, 0]]).bool()
    found = edited_tokens(torch.tensor([[0, 1], [2, -1]]), tokens, mask)
    # 7 8 9 against 7 8 5: the last is substituted; item 2 has no partner, item 3 no row
    assert found.tolist() == [[0, 0, 0, 1], [0, 0, 1, 0], [0] * 4, [0] * 4]
    with pytest.raises(ObjectiveError, match="a row holds 3"):
        edited_tokens(torch.tensor([[0, 1, 2]]), tokens, mask)
