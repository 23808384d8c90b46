"""The reference is who it says it is, and stays so."""

import copy
import json
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, TaskType, get_peft_model

from prefine.adapters import CausalLM, bind
from prefine.engine import ReferenceCache, weights_hash
from prefine.errors import ConfigError
from prefine.objectives import dpo
from prefine.protocols import Batch
from prefine.scores import Needs
from prefine.training.filling import item_keys
from prefine.training.reference import (
    AdapterOff,
    CachedReference,
    Identity,
    ModuleReference,
    NoReference,
    choose_reference,
    evaluating,
    without_dropout,
)
from prefine.training.run import train
from prefine.training.trainer import PreferenceTrainer

Rows = Callable[..., list[dict[str, Any]]]
Tiny = Callable[..., Any]


def scored(reference: Any, adapter: CausalLM, rows: list[dict[str, Any]], policy: Any) -> Any:
    batch: Batch = adapter.collate(rows)
    return reference(batch, None, Needs(), policy).value.double()


@pytest.fixture
def adapter(tiny_tokenizer: Any) -> CausalLM:
    return CausalLM(tiny_tokenizer)


@pytest.fixture
def lora(tiny_llama: Tiny) -> Any:
    settings = LoraConfig(r=2, target_modules="all-linear", task_type=TaskType.CAUSAL_LM)
    return get_peft_model(tiny_llama(initializer_range=0.1), settings)


@pytest.mark.parametrize("kind", ["module", "cached", "adapter_off"])
def test_every_kind_gives_the_scores_of_the_start_and_keeps_them(
    kind: str, adapter: CausalLM, lora: Any, tiny_llama: Tiny, token_rows: Rows, tmp_path: Path
) -> None:
    rows = token_rows(5)
    start = bind(tiny_llama(initializer_range=0.1), adapter)
    expected = start(batch=adapter.collate(rows), draw=None, needs=Needs()).value.detach().double()
    policy = bind(lora, adapter)
    if kind == "module":
        twin = tiny_llama(initializer_range=0.1)
        reference: Any = ModuleReference(twin, adapter, "start", is_initial_policy=True)
    elif kind == "adapter_off":
        reference = AdapterOff(lora, "start")
    else:
        identity = Identity("cached", "start", "w", True)
        reference = CachedReference(ReferenceCache(tmp_path, "w", {}), identity)
        reference.fill(rows, tiny_llama(initializer_range=0.1), adapter, batch_size=2)
        rows = [{**row, "reference": reference.lookup(row)} for row in rows]
    with torch.no_grad():
        for name, parameter in lora.named_parameters():
            if "lora" in name:
                parameter.normal_()
    found = scored(reference, adapter, rows, policy)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert not found.requires_grad
    moved = policy(batch=adapter.collate(rows), draw=None, needs=Needs()).value.detach()
    assert float((moved.double() - expected).abs().max()) > 0.1, "the policy did move"


def test_a_second_module_is_frozen(adapter: CausalLM, tiny_llama: Tiny) -> None:
    model = tiny_llama().train()
    ModuleReference(model, adapter, "start", is_initial_policy=True)
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_adapters_that_moved_are_not_switched_off(lora: Any) -> None:
    AdapterOff(lora, "start")
    with torch.no_grad():
        next(p for n, p in lora.named_parameters() if "lora_B" in n)[0, 0] = 1e-3
    with pytest.raises(ConfigError, match=r"lora_B.* is not zero.*reference=cached"):
        AdapterOff(lora, "start")


def test_filling_scores_only_what_is_missing(
    adapter: CausalLM, tiny_llama: Tiny, token_rows: Rows, tmp_path: Path
) -> None:
    rows, model = token_rows(9), tiny_llama()
    cached = CachedReference(ReferenceCache(tmp_path, "w", {}), Identity("cached", "m", "w", True))
    assert cached.fill(rows[:4], model, adapter, batch_size=2, shard=1) == 8
    assert len(list(tmp_path.rglob("*.safetensors"))) == 2
    assert cached.fill(rows, model, adapter, batch_size=2) == 10
    assert cached.fill(rows, model, adapter, batch_size=2) == 0
    assert not cached.cache.missing(key for row in rows for key in item_keys(row))


def choose(wish: str, adapter: Any, model: Any, **more: Any) -> Any:
    values = {"needed": True, "name": "tiny", "rows": [], "load": lambda _: model, **more}
    return choose_reference(wish, model=model, adapter=adapter, **values)[0]


def test_the_choice(
    adapter: CausalLM, tiny_llama: Tiny, lora: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFINE_CACHE", str(tmp_path))
    model, other = tiny_llama(), tiny_llama(seed=1)
    assert choose("auto", adapter, model, needed=False).identity == NoReference().identity
    kinds = {
        wish: choose(wish, adapter, lora if wish == "adapter_off" else model).identity
        for wish in ("auto", "cached", "module", "adapter_off")
    }
    assert [i.kind for i in kinds.values()] == ["cached", "cached", "module", "adapter_off"]
    assert all(i.is_initial_policy for i in kinds.values())
    assert kinds["auto"].hash == weights_hash(model)
    named = choose("org/other", adapter, model, load=lambda _: other).identity
    assert (named.name, named.hash) == ("org/other", weights_hash(other))
    assert not named.is_initial_policy
    assert str(named) == f"org/other, cached, weights {weights_hash(other)}"
    assert str(NoReference().identity) == "none"
    with pytest.raises(ConfigError, match="uses no reference"):
        choose("cached", adapter, model, needed=False)


def test_scores_that_are_drawn_are_not_cached(adapter: CausalLM, tiny_llama: Tiny) -> None:
    class Random(CausalLM):
        deterministic = False

    model = tiny_llama()
    reference = choose("auto", Random(adapter.tokenizer), model)
    assert reference.identity.kind == "module"
    assert reference.model is not model


def test_no_reference_has_no_scores(adapter: CausalLM, token_rows: Rows, tiny_llama: Tiny) -> None:
    with pytest.raises(ConfigError, match="the reference is `none`"):
        scored(NoReference(), adapter, token_rows(1), tiny_llama())


def test_another_model_may_be_the_reference(
    configure: Any, start: Path, tiny_llama: Tiny, tiny_tokenizer: Any, tmp_path: Path
) -> None:
    """Its log-ratios are not 0 at step 0, and that is no mistake."""
    tiny_llama(seed=1, initializer_range=0.1).save_pretrained(tmp_path / "other")
    summary = train(configure(reference=str(tmp_path / "other")), quiet=True).summary
    assert summary["reference"].startswith(f"{tmp_path / 'other'}, cached, weights ")
    assert not summary["reference"].endswith(summary["weights"])


def test_the_whole_run_agrees_between_kinds(
    trainer: Callable[..., PreferenceTrainer], token_rows: Rows, tiny_llama: Tiny, adapter: CausalLM
) -> None:
    rows, made = token_rows(6), []
    for kind in ("module", "cached"):
        model = tiny_llama(initializer_range=0.1).double()
        given = rows
        if kind == "module":
            reference: Any = ModuleReference(
                copy.deepcopy(model), adapter, "start", is_initial_policy=True
            )
        else:
            plain = copy.deepcopy(model)
            values = scored(ModuleReference(plain, adapter, "s", is_initial_policy=True), adapter,
                            rows, plain).view(-1, 2).tolist()  # fmt: skip
            given = [{**row, "reference": v} for row, v in zip(rows, values, strict=True)]
            reference = CachedReference(None, Identity("cached", "s", "w", True))  # type: ignore[arg-type]
        trainer(partial(dpo, beta=1.0), rows=given, model=model, reference=reference).train()
        made.append(model)
    for a, b in zip(made[0].parameters(), made[1].parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10)


def test_evaluating_gives_the_mode_back(tiny_llama: Tiny) -> None:
    model = tiny_llama().train()
    with pytest.raises(TypeError), evaluating(model):
        model(model.training)
    assert model.training
    with evaluating(model):
        assert not model.training


def test_without_dropout_a_model_says_the_same_twice(tiny_llama: Tiny) -> None:
    model = tiny_llama(attention_dropout=0.9).train()
    model.extra = torch.nn.Dropout(0.9)
    ids = torch.arange(1, 40)[None]
    assert not torch.equal(model(ids).logits, model(ids).logits)
    without_dropout(model)
    assert model.extra.p == 0.0
    assert torch.equal(model(ids).logits, model(ids).logits)


@pytest.mark.parametrize("layout", ["packed", "padded"])
def test_step_one_is_exactly_log_2_in_bfloat16(
    configure: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    monkeypatch.setenv("PREFINE_CACHE", str(tmp_path / "cache"))
    short = {"max_steps": 1, "per_device_train_batch_size": 5, "bf16": True, "logging_steps": 1}
    run = train(configure("dpo", training=short, layout=layout), quiet=True)
    first = json.loads((run.folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert first["loss"] == float(torch.tensor(math.log(2)))
    assert first["kl_reference"] == first["rewards/margins"] == 0
