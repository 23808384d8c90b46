"""Two sides learn at two speeds, change roles when the slow one does better, and never share."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from prefine.adapters import CausalLM, bind
from prefine.errors import ConfigError, NonFiniteError
from prefine.objectives import dpo
from prefine.recipes import chase
from prefine.records import load
from prefine.scores import Scores, gather

F64 = torch.float64
Sgd = torch.optim.SGD


def linear(sides: list[nn.Parameter]) -> Callable[[int, Tensor], Scores]:
    """A chosen response has the features of the batch [B, 1], a rejected one has none."""

    def score(side: int, features: Tensor) -> Scores:
        policy = torch.cat([features * sides[side], torch.zeros_like(features)], 1)
        return Scores(policy, torch.ones_like(policy), reference=torch.zeros_like(policy))

    return score


def two(first: float = 0.0, second: float = 0.0) -> list[nn.Parameter]:
    return [nn.Parameter(torch.tensor([value], dtype=F64)) for value in (first, second)]


def test_a_step_worked_out_by_hand() -> None:
    # Margins 0: DPO pulls with beta / 2 = 0.5, the chase with 0.4 * 0.5 more; the rates are 1, 0.1
    sides = two()
    chase(
        linear(sides), ([sides[0]], [sides[1]]), [torch.ones(1, 1, dtype=F64)],
        rate=1.0, loss=partial(dpo, beta=1.0), alpha=0.4, beta=1.0, optimizer=Sgd,
    )  # fmt: skip
    assert sides[0].item() == pytest.approx(0.7)
    assert sides[1].item() == pytest.approx(0.07)


def test_the_better_side_becomes_the_fast_one() -> None:
    """The second begins far ahead, so it has the lower loss after each spell until caught up."""
    sides = two(0.0, 5.0)
    batches = [torch.ones(1, 1, dtype=F64)] * 7
    found = chase(
        linear(sides), ([sides[0]], [sides[1]]), batches,
        rate=0.1, loss=partial(dpo, beta=1.0), every=3, optimizer=Sgd,
    )  # fmt: skip
    assert (found.fast, found.swaps) == (1, (3,))
    assert found.losses[1] < found.losses[0]


def test_rates_follow_the_roles() -> None:
    rates: list[list[float]] = []

    class Watched(Sgd):
        def step(self, closure: Any = None) -> Any:
            rates.append([self.param_groups[0]["lr"]])
            return super().step(closure)

    sides = two(0.0, 5.0)
    batches = [torch.ones(1, 1, dtype=F64)] * 4
    chase(
        linear(sides), ([sides[0]], [sides[1]]), batches,
        rate=0.1, ratio=0.5, every=2, optimizer=Watched,
    )  # fmt: skip
    assert [rate for (rate,) in rates] == [0.1, 0.05, 0.1, 0.05, 0.05, 0.1, 0.05, 0.1]


def test_weights_of_rows_count() -> None:
    sides, even = two(), two()
    features = torch.tensor([[1.0], [-1.0]], dtype=F64)

    def score(side: int, rows: Tensor) -> Scores:
        scores = linear(sides)(side, rows)
        return Scores(
            scores.policy, scores.length, reference=scores.reference,
            weight=torch.tensor([1.0, 0.0], dtype=F64),
        )  # fmt: skip

    chase(score, ([sides[0]], [sides[1]]), [features], rate=1.0, optimizer=Sgd)
    chase(linear(even), ([even[0]], [even[1]]), [features[:1]], rate=1.0, optimizer=Sgd)
    torch.testing.assert_close(sides[0], even[0])


def test_bad_input_is_named() -> None:
    sides = two()
    score, batch = linear(sides), torch.ones(1, 1, dtype=F64)
    with pytest.raises(ConfigError, match="share 1"):
        chase(score, ([sides[0]], [sides[0]]), [batch], rate=1.0)
    with pytest.raises(ConfigError, match="hold 1 and 0 parameters"):
        chase(score, ([sides[0]], []), [batch], rate=1.0)
    with pytest.raises(ConfigError, match="`ratio` in"):
        chase(score, ([sides[0]], [sides[1]]), [batch], rate=1.0, ratio=0.0)
    with pytest.raises(ConfigError, match="`every` must be 1"):
        chase(score, ([sides[0]], [sides[1]]), [batch], rate=1.0, every=0)
    with pytest.raises(ConfigError, match="holds no batch"):
        chase(score, ([sides[0]], [sides[1]]), [], rate=1.0)
    with pytest.raises(NonFiniteError, match="lower the rate"):
        chase(score, ([sides[0]], [sides[1]]), [batch * torch.inf], rate=1.0)


def test_adapters_of_peft_are_sides(tiny_llama: Any, tiny_tokenizer: Any, tmp_path: Any) -> None:
    """Each set_adapter stops the other's gradients, which would lose half of the training."""
    from peft import LoraConfig, get_peft_model
    from tests.start import write_start

    write_start(tmp_path, tiny_llama(), tiny_tokenizer)
    names = ("fast", "slow")
    config = LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
    model: Any = get_peft_model(tiny_llama(initializer_range=0.2), config, names[0])
    model.add_adapter(names[1], config)
    adapter = CausalLM(tiny_tokenizer)
    rows = adapter.prepare(load(tmp_path / "pairs.jsonl").pairs()).dataset
    batch = adapter.collate([{**rows[n], "reference": None} for n in range(4)])
    bind(model, adapter)
    with model.disable_adapter(), torch.no_grad():
        reference = model(batch=batch)

    def score(side: int, _: object) -> Scores:
        model.set_adapter(names[side])
        return gather(batch["index"], model(batch=batch), reference)

    parts = [[p for name, p in model.named_parameters() if f".{side}." in name] for side in names]
    before = [[p.detach().clone() for p in part] for part in parts]
    found = chase(score, (parts[0], parts[1]), [0] * 6, rate=0.05, every=3)
    for part, was in zip(parts, before, strict=True):
        assert all(not p.equal(old) for p, old in zip(part, was, strict=True))
    moved = [
        max(float((p - old).detach().abs().max()) for p, old in zip(part, was, strict=True))
        for part, was in zip(parts, before, strict=True)
    ]
    if not found.swaps:
        assert moved[0] > 5 * moved[1]
