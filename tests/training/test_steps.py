"""What a step does and does not: parts, no waiting for the device, activations kept elsewhere."""

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread
from typing import Any

import pytest
import torch

from prefine.errors import NonFiniteError
from prefine.objectives import aot, bradley_terry, cpo, dpo, kto, plackett_luce, simpo
from prefine.objectives.declare import objective
from prefine.scores import Scores
from prefine.training.later import Later
from prefine.training.reference import ModuleReference
from prefine.training.trainer import PreferenceTrainer

Make = Callable[..., PreferenceTrainer]


def steps_of(trainer: Make, loss: Any, **more: Any) -> tuple[list[dict[str, Any]], Any]:
    """Metrics of each step, and the trained weights."""
    rows: list[dict[str, Any]] = []
    made = trainer(loss, on_step=rows.append, max_steps=3, per_device_train_batch_size=4, **more)
    made.train()
    return rows, made.policy.state_dict()


@pytest.fixture
def twin(tiny_llama: Any) -> Any:
    """Return `make(adapter)`: the model that training starts from, as a reference."""

    def make(adapter: Any) -> ModuleReference:
        model = tiny_llama(initializer_range=0.1).double()
        return ModuleReference(model, adapter, "start", is_initial_policy=True)

    return make


@pytest.mark.parametrize("loss", [simpo, cpo, aot])
@pytest.mark.parametrize("layout", ["packed", "padded"])
def test_a_budget_changes_nothing_but_the_parts(
    trainer: Make, token_rows: Any, twin: Any, loss: Any, layout: str
) -> None:
    given = {"rows": token_rows(10), "layout": layout, "reference": twin}
    whole, weights = steps_of(trainer, loss, **given)
    cut, same = steps_of(trainer, loss, **given, token_budget=25)
    for one, other in zip(whole, cut, strict=True):
        assert one.keys() == other.keys()
        for name, value in one.items():
            assert other[name] == pytest.approx(value, rel=1e-9, abs=1e-12), name
    for name, value in weights.items():
        torch.testing.assert_close(same[name], value, rtol=1e-9, atol=1e-12)


def test_parts_are_really_computed_one_by_one(trainer: Make, token_rows: Any) -> None:
    made = trainer(simpo, rows=token_rows(8), per_device_train_batch_size=4, token_budget=25)
    seen: list[int] = []
    plain = made.compute_loss

    def counted(model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        seen.append(inputs["items"]["input_ids"].numel())
        return plain(model, inputs, *args, **kwargs)

    made.compute_loss = counted  # type: ignore[method-assign]
    made.train()
    assert len(seen) > 2, "two steps in more than one part each"


def test_rows_that_fill_a_batch_up_are_not_computed(trainer: Make, token_rows: Any) -> None:
    made = trainer(simpo, rows=token_rows(5), per_device_train_batch_size=4, max_steps=2)
    counts: list[int] = []
    plain = made.compute_loss

    def counted(model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        counts.append(len(inputs["index"]))
        return plain(model, inputs, *args, **kwargs)

    made.compute_loss = counted  # type: ignore[method-assign]
    made.train()
    assert counts == [4, 1]


def caller() -> str:
    """The nearest line that is not of this file."""
    frame = next(f for f in reversed(traceback.extract_stack()) if f.filename != __file__)
    return f"{frame.filename}:{frame.lineno}"


READING = ("item", "tolist", "__bool__", "__float__", "__int__", "cpu", "numpy")


@contextmanager
def nothing_read(monkeypatch: pytest.MonkeyPatch, made: PreferenceTrainer) -> Iterator[list[str]]:
    """Note every number that is read while a step is computed."""
    found: list[str] = []
    inside = [False]

    def noted(name: str) -> Any:
        plain = getattr(torch.Tensor, name)

        def read(self: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            if inside[0] and current_thread() is main_thread():
                found.append(f"{name} in {caller()}")
            return plain(self, *args, **kwargs)

        return read

    for name in READING:
        monkeypatch.setattr(torch.Tensor, name, noted(name))
    for method in ("training_step", "get_batch_samples", "_get_grad_norm", "finish_step"):
        plain = getattr(made, method)

        def watched(*args: Any, plain: Any = plain, **kwargs: Any) -> Any:
            inside[0] = made.state.global_step > 0  # the first step checks the reference
            try:
                return plain(*args, **kwargs)
            finally:
                inside[0] = False

        monkeypatch.setattr(made, method, watched)
    yield found


@pytest.mark.parametrize("loss", [dpo, simpo, cpo, plackett_luce, bradley_terry])
def test_a_step_reads_no_number(
    trainer: Make, token_rows: Any, twin: Any, monkeypatch: pytest.MonkeyPatch, loss: Any
) -> None:
    made = trainer(
        loss, rows=token_rows(8), max_steps=3, layout="packed", logging_steps=100, reference=twin
    )
    made.later = Later(lag=100)
    with nothing_read(monkeypatch, made) as found:
        made.train()
    assert found == []


def test_reading_is_noticed(
    trainer: Make, token_rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    @objective("pair")
    def reads(scores: Scores) -> torch.Tensor:
        gap = scores.policy[:, 0] - scores.policy[:, 1]
        return -gap * float(gap[0].detach() < 0)

    made = trainer(reads, rows=token_rows(4))
    made.later = Later(lag=1)
    with nothing_read(monkeypatch, made) as found:
        made.train()
    assert any(entry.startswith("__float__") for entry in found)


def test_metrics_that_are_read_later_are_the_same(trainer: Make, token_rows: Any) -> None:
    at_once, _ = steps_of(trainer, simpo, rows=token_rows(8))
    rows: list[dict[str, Any]] = []
    made = trainer(
        simpo, on_step=rows.append, max_steps=3, per_device_train_batch_size=4, rows=token_rows(8)
    )
    made.later = Later(lag=1)
    made.train()
    assert rows == at_once


def test_a_number_that_is_not_finite_stops_a_run_a_step_later(trainer: Make) -> None:
    @objective("pair")
    def breaks(scores: Scores) -> torch.Tensor:
        return (scores.policy[:, 1] - scores.policy[:, 0]) / 0.0

    made = trainer(breaks, max_steps=6)
    made.later = Later(lag=1)
    with pytest.raises(NonFiniteError, match=r"step 0: the loss is .*Records: r\d, r\d\."):
        made.train()
    assert made.state.global_step <= 2


def test_activations_can_wait_elsewhere(trainer: Make, token_rows: Any) -> None:
    kept, weights = steps_of(trainer, simpo, rows=token_rows(8))
    moved, same = steps_of(trainer, simpo, rows=token_rows(8), offload=True)
    assert moved == kept
    assert all(torch.equal(same[name], value) for name, value in weights.items())


def test_batches_are_made_while_a_step_is_computed(trainer: Make, token_rows: Any) -> None:
    """The step of the first batch waits for the batch of the second: it must not wait for long."""
    from threading import Event

    second = Event()
    made = trainer(simpo, rows=token_rows(8), max_steps=2)
    collated: list[int] = []
    plain_collate, plain_loss = made.data_collator, made.compute_loss

    def collate(rows: Any) -> Any:
        collated.append(len(rows))
        if len(collated) == 3:  # the loader itself holds one back
            second.set()
        return plain_collate(rows)

    def loss(*args: Any, **kwargs: Any) -> Any:
        assert second.wait(timeout=20), "the next batches were not made"
        return plain_loss(*args, **kwargs)

    made.data_collator = collate
    made.compute_loss = loss  # type: ignore[method-assign]
    made.train()


def test_kto_is_exact_in_parts(trainer: Make, token_rows: Any, twin: Any) -> None:
    rows = [
        {**row, "roles": ["response", "mismatched"], "label": [n % 2 == 0]}
        for n, row in enumerate(token_rows(8))
    ]

    whole, _ = steps_of(trainer, kto(), rows=rows, reference=twin)
    cut, _ = steps_of(trainer, kto(), rows=rows, reference=twin, token_budget=25)
    for one, other in zip(whole, cut, strict=True):
        assert {k: pytest.approx(v, rel=1e-9, abs=1e-12) for k, v in one.items()} == other
