"""The head in tiles: equal to logits written out, values and gradients."""

from typing import Any

import pytest
import torch
from torch import Tensor

from prefine.engine import linear_log_prob as module
from prefine.engine.linear_log_prob import Head, linear_log_prob

ROWS, SIZE, VOCABULARY = 7, 5, 700

HEADS: dict[str, dict[str, Any]] = {
    "plain": {},
    "bias": {"bias": True},
    "cap": {"cap": 3.0},
    "scale": {"scale": 0.25},
    "all": {"bias": True, "cap": 3.0, "scale": 0.5},
}


def inputs(dtype: torch.dtype, bias: bool = False, **more: Any) -> tuple[Tensor, Head, Tensor]:
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    weight = random(VOCABULARY, SIZE).requires_grad_()
    head = Head(weight, random(VOCABULARY).requires_grad_() if bias else None, **more)
    target = torch.randint(VOCABULARY, (ROWS,), generator=generator)
    target[1] = target[0]  # a token may be a target twice
    return random(ROWS, SIZE).requires_grad_(), head, target


def whole(hidden: Tensor, head: Head) -> Tensor:
    logits = torch.nn.functional.linear(hidden, head.weight, head.bias)
    logits = logits if logits.dtype == torch.float64 else logits.float()
    logits = logits * head.scale
    logits = logits if head.cap is None else head.cap * (logits / head.cap).tanh()
    return logits.log_softmax(-1)


def written_out(hidden: Tensor, head: Head, target: Tensor) -> tuple[Tensor, Tensor]:
    table = whole(hidden, head)
    return table.gather(1, target[:, None])[:, 0], -(table.exp() * table).sum(-1)


def leaves(hidden: Tensor, head: Head) -> list[Tensor]:
    return [hidden, head.weight, *([] if head.bias is None else [head.bias])]


@pytest.fixture
def tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Buffers so small that the vocabulary takes several."""
    monkeypatch.setattr(module, "TILE_BYTES", 1)


@pytest.mark.usefixtures("tiles")
@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize(("dtype", "within"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_equal_to_logits(kind: str, dtype: torch.dtype, within: float) -> None:
    hidden, head, target = inputs(dtype, **HEADS[kind])
    ours, entropy, top = linear_log_prob(hidden, head, target, entropy=True, top=3)
    theirs, expected = written_out(hidden, head, target)
    torch.testing.assert_close(ours, theirs, rtol=within, atol=within)
    assert entropy is not None
    torch.testing.assert_close(entropy, expected.detach(), rtol=10 * within, atol=10 * within)
    assert top is not None
    assert not top.requires_grad
    likeliest = whole(hidden, head).topk(3).values.detach()
    torch.testing.assert_close(top, likeliest, rtol=within, atol=within)
    weight = torch.linspace(-1, 2, ROWS, dtype=dtype)
    for one, other in zip(
        torch.autograd.grad((ours * weight).sum(), leaves(hidden, head)),
        torch.autograd.grad((theirs * weight).sum(), leaves(hidden, head)),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=within, atol=within)


@pytest.mark.usefixtures("tiles")
def test_narrow_inputs_are_summed_in_single_precision() -> None:
    hidden, head, target = inputs(torch.bfloat16)
    ours = linear_log_prob(hidden, head, target).log_prob
    theirs, _ = written_out(hidden, head, target)
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)
    ours.sum().backward()
    assert hidden.grad is not None
    assert hidden.grad.dtype == torch.bfloat16
    exact = [part.detach().double().requires_grad_() for part in (hidden, head.weight)]
    written_out(exact[0], Head(exact[1]), target)[0].sum().backward()
    assert exact[0].grad is not None
    torch.testing.assert_close(hidden.grad.double(), exact[0].grad, rtol=2e-2, atol=2e-2)


def test_autocast_rounds_as_the_model_would() -> None:
    hidden, head, target = inputs(torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours = linear_log_prob(hidden, head, target).log_prob
        theirs, _ = written_out(hidden, head, target)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_a_frozen_head_gets_no_gradient() -> None:
    hidden, head, target = inputs(torch.float32)
    head.weight.requires_grad_(False)
    linear_log_prob(hidden, head, target)[0].sum().backward()
    assert head.weight.grad is None
    assert hidden.grad is not None


def test_extremes_stay_finite() -> None:
    hidden = torch.tensor([[1e4], [-1e4]], requires_grad=True)
    weight = torch.tensor([[1.0], [-1.0], [0.0]], requires_grad=True)
    found, entropy, _ = linear_log_prob(hidden, Head(weight), torch.tensor([0, 0]), entropy=True)
    assert found.tolist() == [0.0, -2e4]
    assert entropy is not None
    assert entropy.tolist() == pytest.approx([0.0, 0.0], abs=1e-2)
    found.sum().backward()
    assert hidden.grad is not None
    assert hidden.grad.isfinite().all()


def test_the_logits_never_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    """The only buffer is a tile, which the vocabulary does not widen."""
    made: list[tuple[int, ...]] = []
    plain = torch.empty

    def counted(*args: Any, **kwargs: Any) -> Tensor:
        out = plain(*args, **kwargs)
        made.append(tuple(out.shape))
        return out

    monkeypatch.setattr(module, "TILE_BYTES", 1)
    monkeypatch.setattr(module.torch, "empty", counted)
    hidden, head, target = inputs(torch.float32)
    linear_log_prob(hidden, head, target)[0].sum().backward()
    assert (ROWS, 512) in made
    assert all(shape[0] != ROWS or shape[1] <= 512 for shape in made if len(shape) == 2)


@pytest.mark.usefixtures("tiles")
@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("without", [0, 640, VOCABULARY - 1])
def test_a_token_that_is_left_out_takes_no_share(kind: str, without: int) -> None:
    """Values and gradients of the distribution over all others."""
    hidden, head, target = inputs(torch.float64, **HEADS[kind])
    target[target == without] = 1
    found = linear_log_prob(hidden, head, target, without=without).log_prob
    table = whole(hidden, head)
    kept = torch.arange(VOCABULARY) != without
    others = torch.where(kept, table, -torch.inf).log_softmax(-1)
    expected = others.gather(1, target[:, None])[:, 0]
    torch.testing.assert_close(found, expected)
    weights = torch.linspace(-1, 2, ROWS).double()
    ours = torch.autograd.grad((found * weights).sum(), leaves(hidden, head))
    theirs = torch.autograd.grad((expected * weights).sum(), leaves(hidden, head))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)
