"""Attention over a packed row against a mask over the whole row, which is what it stands for."""

from typing import Any

import pytest
import torch
from torch import Tensor

from prefine.engine import tree_attention as module
from prefine.engine.layout import Layout, PackedItems, pack
from prefine.engine.tree_attention import over, tree_attention
from prefine.errors import EngineError

LISTS = {
    "pair": [(4, (3, 5))],
    "ragged": [(6, (1, 4, 2)), (3, (5,)), (1, (2, 2, 2, 2, 1))],
    "no prompt": [(0, (3, 4))],
    "empty response": [(3, (0, 2))],
}


def row_of(lists: list[tuple[int, tuple[int, ...]]], *, share: bool = True) -> PackedItems:
    items = []
    for n, (length, responses) in enumerate(lists):
        items += [([n] * length, [9] * count, [1] * count) for count in responses]
    return pack(items, share=share)


def dense(
    query: Tensor, key: Tensor, value: Tensor, row: PackedItems, scale: float,
    window: int | None, cap: float | None,
) -> Tensor:  # fmt: skip
    """Everything at once, by the definition."""
    count = query.shape[2]
    mask = torch.zeros(count, count, dtype=torch.bool)
    at = row.position_ids[0]
    for group in row.layout.groups:
        for before, own in group.segments():
            for i in range(*own):
                for j in (*range(*before), *range(own[0], i + 1)):
                    mask[i, j] = window is None or at[i] - at[j] < window
    times = query.shape[1] // key.shape[1]
    key, value = (part.repeat_interleave(times, dim=1) for part in (key, value))
    logits = query @ key.transpose(2, 3) * scale
    logits = logits if cap is None else cap * (logits / cap).tanh()
    return logits.masked_fill(~mask, -torch.inf).softmax(-1) @ value


def parts(count: int, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(1, heads, count, 8, generator=generator, dtype=torch.float64)
        .to(dtype)
        .requires_grad_()
        for heads in (4, 2, 2)
    ]


@pytest.fixture
def flash_calls(monkeypatch: pytest.MonkeyPatch) -> list[Layout]:
    """The layouts that the flash path was taken for."""
    calls: list[Layout] = []
    plain = module._Flash.forward

    def counted(ctx: Any, *args: Any) -> Tensor:
        calls.append(args[3])
        return plain(ctx, *args)

    monkeypatch.setattr(module._Flash, "forward", staticmethod(counted))
    return calls


@pytest.mark.parametrize("lists", LISTS)
@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize(
    ("window", "cap", "flash"),
    [(None, None, True), (100, None, True), (3, None, False), (None, 2.0, False), (3, 2.0, False)],
)
def test_equal_to_a_mask_over_the_row(
    lists: str, share: bool, window: int | None, cap: float | None, flash: bool,
    flash_calls: list[Layout],
) -> None:  # fmt: skip
    row = row_of(LISTS[lists], share=share)
    qkv = parts(row.tokens)
    ours = tree_attention(*qkv, row.layout, scale=0.5, window=window, cap=cap)
    theirs = dense(*qkv, row, 0.5, window, cap)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
    weight = torch.randn(ours.shape, generator=torch.Generator().manual_seed(1)).double()
    for one, other in zip(
        torch.autograd.grad((ours * weight).sum(), qkv),
        torch.autograd.grad((theirs * weight).sum(), qkv),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)
    assert bool(flash_calls) == flash


@pytest.mark.parametrize(("dtype", "within"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)])
def test_narrow_inputs(dtype: torch.dtype, within: float) -> None:
    row = row_of(LISTS["ragged"])
    qkv = parts(row.tokens, dtype)
    ours = tree_attention(*qkv, row.layout)
    assert ours.dtype == dtype
    theirs = dense(*[part.double() for part in qkv], row, 8**-0.5, None, None)
    torch.testing.assert_close(ours.double(), theirs, rtol=within, atol=within)
    ours.float().sum().backward()
    assert all(part.grad is not None and part.grad.dtype == dtype for part in qkv)


def test_autocast_narrows_queries_and_keys() -> None:
    row = row_of(LISTS["pair"])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert tree_attention(*parts(row.tokens, torch.float32), row.layout).dtype == torch.bfloat16


def test_the_merge_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without what branches see of their trunk the result is another one."""
    row = row_of(LISTS["pair"])
    qkv = parts(row.tokens)
    right = tree_attention(*qkv, row.layout)
    monkeypatch.setattr(module, "_merge", lambda *_: None)
    assert (tree_attention(*qkv, row.layout) - right).abs().max() > 1e-2


def test_only_what_it_can_stand_in_for() -> None:
    with pytest.raises(EngineError, match="flash_attention_2 attention"):
        over("flash_attention_2")


@pytest.mark.parametrize(
    ("given", "says"),
    [({"s_aux": torch.ones(2)}, "attention with s_aux"), ({"dropout": 0.1}, "with dropout")],
)
def test_what_it_does_not_know_is_refused(given: dict[str, Any], says: str) -> None:
    from transformers import AttentionInterface

    attend = AttentionInterface._global_mapping[over("sdpa")]
    row = row_of(LISTS["pair"])
    with pytest.raises(EngineError, match=says):
        attend(torch.nn.Module(), *parts(row.tokens), None, layout=row.layout, **given)
