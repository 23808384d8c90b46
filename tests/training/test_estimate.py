"""What a run will take: counts against hand-worked rows, and advice where memory is too small."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainingArguments

from prefine.adapters import CausalLM
from prefine.engine import choose_layout
from prefine.engine.cost import Work, training_flops
from prefine.engine.peak_memory import PeakMemory
from prefine.training import estimate as module
from prefine.training.estimate import advice, epoch_batches, estimate_step, show
from prefine.training.passes import Memory, _line_at  # pyright: ignore[reportPrivateUsage]

ROOMY = Memory(
    base=100, weights=40, optimizer=80, gradients=40, activations=60, training=50, available=210
)


def row(prompt: int, *responses: int) -> dict[str, Any]:
    return {
        "record": f"{prompt} {responses}",
        "roles": ["chosen", "rejected"],
        "prompt": [[5] * prompt] * len(responses),
        "response": [[6 + k] * count for k, count in enumerate(responses)],
        "mask": [[1] * count for count in responses],
    }


BATCHES = [[row(8, 3, 5)], [row(4, 2, 2), row(6, 1, 3)]]


def test_counts_of_hand_worked_rows(tiny_llama: Callable[..., Any], tiny_tokenizer: Any) -> None:
    model, adapter = tiny_llama(), CausalLM(tiny_tokenizer, layout="packed")
    assert choose_layout(model).layout == "packed"
    found = estimate_step(model, adapter, BATCHES, steps=1)
    assert found.tokens == (8 + 3 + 5) + (4 + 2 + 2) + (6 + 1 + 3)
    assert found.padded_tokens == 2 * 13 + 4 * 9
    assert found.sharing == (11 + 13 + 6 + 6 + 7 + 9) / 34
    assert found.largest == 18
    seen = 8 * 9 // 2 + 3 * 8 + 6 + 5 * 8 + 15
    seen += 10 + 2 * (2 * 4 + 3) + 21 + (6 + 1) + (3 * 6 + 6)
    flops = training_flops(model, Work(34, seen, 8 + 4 + 4), recomputed=True).total
    assert found.flops_epoch == flops
    assert found.flops_step == flops
    assert found.seconds_epoch >= flops / found.rate
    halved = estimate_step(model, adapter, BATCHES)
    assert halved.flops_step == flops / 2, "each batch is a step"


def test_padded_rows_share_nothing(tiny_llama: Callable[..., Any], tiny_tokenizer: Any) -> None:
    found = estimate_step(tiny_llama(), CausalLM(tiny_tokenizer), BATCHES, steps=1)
    assert found.tokens == found.padded_tokens == 2 * 13 + 4 * 9
    assert found.sharing == 1


def test_memory_of_what_is_trained(tiny_llama: Callable[..., Any], tiny_tokenizer: Any) -> None:
    model = tiny_llama()
    count = sum(p.numel() for p in model.parameters())
    learnt = model.lm_head.weight.numel()
    found = estimate_step(model, CausalLM(tiny_tokenizer), BATCHES, steps=1).memory
    if found is None:
        return  # a system without /proc says so instead
    assert (found.weights, found.gradients, found.optimizer) == (4 * count, 4 * count, 8 * count)
    model.requires_grad_(False)
    model.lm_head.weight.requires_grad_(True)
    found = estimate_step(model, CausalLM(tiny_tokenizer), BATCHES, steps=1).memory
    assert found is not None
    assert (found.weights, found.gradients) == (4 * count, 4 * learnt)
    assert found.total == found.base + found.owned + found.training


def test_nothing_is_left_behind(tiny_llama: Callable[..., Any], tiny_tokenizer: Any) -> None:
    model = tiny_llama().eval()
    before = {name: p.clone() for name, p in model.named_parameters()}
    kept = torch.ones_like(model.lm_head.weight)
    model.lm_head.weight.grad = kept
    state = torch.random.get_rng_state()
    estimate_step(model, CausalLM(tiny_tokenizer), BATCHES, steps=1)
    assert not model.training
    assert model.lm_head.weight.grad is kept
    assert all(p.grad is None for name, p in model.named_parameters() if name != "lm_head.weight")
    assert all(p.equal(before[name]) for name, p in model.named_parameters())
    assert torch.random.get_rng_state().equal(state)
    assert kept.equal(torch.ones_like(kept))


def test_a_line_through_two_sizes_tells_the_rest() -> None:
    assert _line_at(10, [(2, 30), (4, 50)]) == 110
    assert _line_at(10, [(2, 30), (4, 20)]) == 20, "memory does not fall with more tokens"
    assert _line_at(10, [(2, 30), (2, 40)]) == 40


def test_the_peak_of_memory_is_seen() -> None:
    meter = PeakMemory(torch.device("cpu"))
    size = 64 << 20
    torch.ones(size // 4).sum()
    assert 0.95 * size <= meter.grown() <= 1.2 * size, "of what is gone again, too"
    meter.start()
    assert meter.grown() < size // 4
    with pytest.raises(OSError, match="meta"):
        PeakMemory(torch.device("meta"))


def test_advice_comes_where_it_does_not_fit() -> None:
    given = {"rows": 8, "checkpointed": False, "lora": False, "dtype": "float32"}
    assert ROOMY.total == 310
    assert ROOMY.fits
    assert advice(ROOMY, **given) == []
    small = replace(ROOMY, available=209)
    first = [line.split(":")[0] for line in advice(small, **given)]
    assert first == [
        "a smaller token_budget", "training.gradient_checkpointing=true", "--lora",
        "dtype=bfloat16", "a smaller max_length", "a smaller model",
    ]  # fmt: skip
    done = {"rows": 1, "checkpointed": True, "lora": True, "dtype": "bfloat16"}
    assert [line.split(":")[0] for line in advice(small, **done)] == first[-2:]


def test_batches_are_those_of_the_first_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"n": n} for n in range(5)]
    args = TrainingArguments(
        output_dir=str(tmp_path), per_device_train_batch_size=2, use_cpu=True,
        train_sampling_strategy="sequential", report_to="none",
    )  # fmt: skip
    assert epoch_batches(rows, args) == ([rows[:2], rows[2:4], rows[4:]], 3)
    monkeypatch.setattr(module, "MOST_COUNTED", 2)
    assert epoch_batches(rows, args) == ([rows[:2], rows[4:]], 3)
    monkeypatch.setattr(module, "MOST_COUNTED", 3)
    args.train_sampling_strategy = "random"
    shuffled = [row["n"] for batch in epoch_batches(rows, args)[0] for row in batch]
    order = torch.randperm(5, generator=torch.Generator().manual_seed(42 * 1_000_003)).tolist()
    assert shuffled == order, "42 is the seed that transformers takes"


def test_a_smaller_budget_makes_smaller_parts(configure: Callable[..., Any]) -> None:
    from prefine.training.dry_run import dry_run

    whole, cut = (dry_run(configure(token_budget=n))["estimate"] for n in (None, 120))
    assert cut["largest"] <= 120 < whole["largest"]
    assert cut["flops_epoch"] == whole["flops_epoch"], "no prompt is in two rows"


def test_a_run_says_why_nothing_is_shared(configure: Callable[..., Any]) -> None:
    from prefine.training.dry_run import dry_run

    says = "every prompt has one response: packed without sharing"
    assert says in dry_run(configure("sft"))["notes"]
    assert says not in dry_run(configure("dpo"))["notes"]


def test_a_run_says_that_a_loss_on_the_router_is_left_out(tiny_llama: Callable[..., Any]) -> None:
    from prefine.training.plan import _about_experts

    model = tiny_llama()
    assert _about_experts(model) == ""
    model.config.output_router_logits, model.config.router_aux_loss_coef = True, 0.02
    assert "auxiliary loss" in _about_experts(model)
    model.config.router_aux_loss_coef = 0.0
    assert _about_experts(model) == ""


def test_a_dry_run_says_what_it_takes(
    configure: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefine.training.dry_run import dry_run

    found = dry_run(configure())["estimate"]
    numbers = [value for value in found.values() if isinstance(value, int | float)]
    assert numbers
    assert all(math.isfinite(value) and value >= 0 for value in numbers)
    json.dumps(found, allow_nan=False)
    assert found["tokens"] <= found["padded_tokens"]
    assert found["advice"] == []
    assert not [line for line in show(found) if line.startswith("too large")]
    monkeypatch.setattr(PeakMemory, "available", lambda _: 0)
    small = dry_run(configure(training={"activation_checkpointing": True}))["estimate"]
    if small["memory"] is not None:
        lines = "\n".join(show(small))
        assert "too large   a smaller token_budget" in lines
        assert "gradient_checkpointing" not in lines, "it is on"
