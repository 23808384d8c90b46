"""Coupled objectives: the exact gradient of the whole batch, however it is cut."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch

from prefine.adapters import CausalLM
from prefine.errors import ObjectiveError
from prefine.objectives import aot
from prefine.scores import Needs, Scores
from prefine.training.reference import ModuleReference
from prefine.training.trainer import PreferenceTrainer

Make = Callable[..., PreferenceTrainer]
Rows = Callable[..., list[dict[str, Any]]]
Tiny = Callable[..., Any]


@pytest.fixture
def fit(trainer: Make, tiny_llama: Tiny, tiny_tokenizer: Any) -> Callable[..., Any]:
    """Return `fit(rows, accumulate)`: one plain gradient step of AOT; the model after it."""

    def run(rows: list[dict[str, Any]], accumulate: int, **more: Any) -> Any:
        model = tiny_llama(initializer_range=0.1).double()
        base = tiny_llama(initializer_range=0.1, seed=1).double()
        made = trainer(
            partial(aot, beta=1.0), rows=rows, model=model, max_steps=1, optim="sgd",
            gradient_accumulation_steps=accumulate, max_grad_norm=0.0,
            reference=ModuleReference(
                base, CausalLM(tiny_tokenizer), "other", is_initial_policy=False
            ), **more,
        )  # fmt: skip
        made.train()
        return model

    return run


def test_the_gradient_is_autograds_on_the_whole_batch(
    fit: Callable[..., Any], token_rows: Rows, tiny_llama: Tiny, tiny_tokenizer: Any
) -> None:
    rows = token_rows(9)
    after = fit(rows, 5)  # 4 x 2 + 1 rows, and one that only fills
    start, base = (tiny_llama(initializer_range=0.1, seed=s).double() for s in (0, 1))
    adapter = CausalLM(tiny_tokenizer)
    policy, reference = (
        adapter.score(model, adapter.collate(rows), needs=Needs()) for model in (start, base)
    )
    whole = Scores(
        policy.value.view(9, 2), policy.length.view(9, 2),
        reference=reference.value.detach().view(9, 2),
    )  # fmt: skip
    aot(whole, beta=1.0).mean().backward()
    for moved, given in zip(after.parameters(), start.parameters(), strict=True):
        assert given.grad is not None
        step = (given.detach() - moved.detach()) / 1e-2
        torch.testing.assert_close(step, given.grad, rtol=1e-7, atol=1e-10)


def test_sorting_each_micro_batch_would_be_another_gradient(
    fit: Callable[..., Any], token_rows: Rows
) -> None:
    """Were this equal, the tests of layouts would show nothing."""
    rows = token_rows(8)

    def vector(model: Any) -> torch.Tensor:
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    whole = vector(fit(rows, 4))
    parts = [vector(fit(rows[at : at + 2], 1)) for at in range(0, 8, 2)]
    assert float((whole - torch.stack(parts).mean(0)).norm()) > 1e-4


def test_unequal_weights_have_no_meaning(fit: Callable[..., Any], token_rows: Rows) -> None:
    with pytest.raises(ObjectiveError, match=r"aot compares the rows.*weighs rows unequally"):
        fit(token_rows(4, weight=[1.0, 1.0, 2.0, 1.0]), 2)


def test_rows_without_weight_are_not_sorted(fit: Callable[..., Any], token_rows: Rows) -> None:
    rows = token_rows(4)
    silent = [{**row, "weight": float(n < 3)} for n, row in enumerate(rows)]
    one, two = fit(silent, 2), fit(rows[:3], 2)
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)
