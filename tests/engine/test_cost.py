"""FLOPs against what torch counts, and work against tables that are written out."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.engine.test_layout import ITEMS, seen
from tests.engine.test_packed import SMALL, make
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from prefine.engine import choose_layout
from prefine.engine.cost import (
    Flops,
    Work,
    forward_flops,
    padded_work,
    training_flops,
    work_of,
)
from prefine.engine.layout import pack
from prefine.engine.packed import token_log_probs
from prefine.training.reference import without_dropout

ROWS, LENGTH = 3, 24
IN_PLACE: Any = {torch.ops.aten.addmm_: lambda _, a, b, **__: 2 * a[0] * a[1] * b[1]}
"""A product that the counter does not know."""


@given(ITEMS, st.booleans())
def test_work_of_a_packed_row(drawn: Any, share: bool) -> None:
    items = [(prompt, [t for t, _ in rest], [int(m) for _, m in rest]) for prompt, rest in drawn]
    row = pack(items, share=share)
    table = seen(row.layout, row.tokens)
    assert work_of(row) == Work(row.tokens, int(table.sum()), int(row.units.sum()))


def test_work_of_padded_rows() -> None:
    assert padded_work([2, 4]) == Work(8, 20, 8), "two rows of 1 + 2 + 3 + 4 pairs"
    assert padded_work([2, 4], scored=3) == Work(8, 20, 3)
    assert padded_work([]) == Work(0, 0, 0)
    assert padded_work([2]) + padded_work([1]) == Work(3, 4, 3)


def with_lora() -> Any:
    from peft import LoraConfig, get_peft_model

    return get_peft_model(make("Llama"), LoraConfig(r=4, target_modules="all-linear"))


MODELS = {
    "llama": lambda: make("Llama"),
    "llama, tied": lambda: make("Llama", {"tie_word_embeddings": True}),
    "qwen2": lambda: make("Qwen2"),
    "wide heads": lambda: make("Qwen3", {"head_dim": 16}),
    "gpt-2": lambda: make("GPT2"),
    "gpt-neox": lambda: make("GPTNeoX"),
    "mixtral": lambda: make("Mixtral", {"num_local_experts": 4}, num_experts_per_tok=2),
    "adapters": with_lora,
}


@pytest.mark.parametrize("name", MODELS)
def test_against_the_counter_of_torch(name: str) -> None:
    """Eager attention multiplies whole squares, so these are the pairs here.

    Of adapters torch counts less: nothing before the first layer is trained, so its query, key and
    value need no gradients of their input.
    """
    model = MODELS[name]()
    model.config._attn_implementation = model.config._experts_implementation = "eager"
    ids = torch.randint(3, 97, (ROWS, LENGTH), generator=torch.Generator().manual_seed(0))
    work = Work(ROWS * LENGTH, ROWS * LENGTH**2, ROWS * LENGTH)
    with FlopCounterMode(display=False) as counter:
        loss = model(input_ids=ids, use_cache=False).logits.sum()
    assert counter.get_total_flops() == forward_flops(model, work).total
    with FlopCounterMode(display=False) as backward:
        loss.backward()
    both = counter.get_total_flops() + backward.get_total_flops()
    spared = 2 * work.tokens * first_inputs(model) if name == "adapters" else 0
    assert both == training_flops(model, work).total - spared


def first_inputs(model: Any) -> int:
    """Weights that multiply the first layer's input."""
    attention = model.get_base_model().base_model.layers[0].self_attn
    parts = (attention.q_proj, attention.k_proj, attention.v_proj)
    return sum(p.base_layer.weight.numel() + p.lora_A["default"].weight.numel() for p in parts)


@pytest.mark.parametrize("checkpointed", [False, True])
@pytest.mark.parametrize("kind", ["Llama", "GPT2"])
def test_what_the_packed_path_executes(kind: str, checkpointed: bool) -> None:
    """The counter knows no flash attention on CPU, so attention is in none of both sums."""
    model = make(kind)
    without_dropout(model)
    assert choose_layout(model).layout == "packed"
    if checkpointed:
        model.train().activation_checkpointing_enable({"use_reentrant": False})
    generator = torch.Generator().manual_seed(0)
    prompt, *responses = (
        torch.randint(3, 97, (count,), generator=generator).tolist() for count in (9, 7, 5)
    )
    row = pack([(prompt, response, [1] * len(response)) for response in responses])
    with FlopCounterMode(display=False, custom_mapping=IN_PLACE) as counter:
        token_log_probs(model, row)[0].sum().backward()
    executed = training_flops(model, work_of(row), recomputed=True)
    necessary = training_flops(model, work_of(row))
    counted = counter.get_total_flops()
    # The last product of a layer computed again is left out: nothing needs its output.
    spared = 2 * row.tokens * last_weights(model) if checkpointed else 0
    assert counted == executed.trunk + executed.head - spared
    assert executed.head == necessary.head * 4 / 3
    assert executed.attention == necessary.attention * (4.5 if checkpointed else 3.5) / 3


def last_weights(model: nn.Module) -> int:
    names = ("down_proj.weight", "mlp.c_proj.weight")
    return sum(p.numel() for name, p in model.named_parameters() if name.endswith(names))


def test_weights_that_are_not_trained_need_no_gradients() -> None:
    model, work = make("Llama"), Work(10, 55, 10)
    trained = training_flops(model, work)
    assert trained.trunk == 3 * forward_flops(model, work).trunk
    model.requires_grad_(False)
    frozen = training_flops(model, work)
    assert frozen.trunk == 2 * forward_flops(model, work).trunk
    assert frozen.head == 2 * forward_flops(model, work).head
    assert frozen.attention == trained.attention


def test_a_reward_head_is_counted() -> None:
    from transformers import LlamaConfig, LlamaForSequenceClassification

    model = LlamaForSequenceClassification(LlamaConfig(**SMALL, num_labels=1))
    assert forward_flops(model, Work(5, 15, 2)).head == 2 * SMALL["hidden_size"] * 2
    assert (
        forward_flops(model, Work(5, 15, 2)).trunk
        == forward_flops(make("Llama"), Work(5, 15, 2)).trunk
    )


def test_the_head_and_adapters_of_a_reward_model_are_counted_once() -> None:
    from peft import LoraConfig, TaskType, get_peft_model
    from transformers import LlamaConfig, LlamaForSequenceClassification

    model = LlamaForSequenceClassification(LlamaConfig(**SMALL, num_labels=1))
    adapted = get_peft_model(
        model, LoraConfig(r=2, target_modules=["q_proj"], task_type=TaskType.SEQ_CLS)
    )
    work = Work(1, 1, 1)
    assert forward_flops(adapted, work).head == 2 * SMALL["hidden_size"]
    assert training_flops(adapted, work).head == 6 * SMALL["hidden_size"], "it is trained"


def test_flops_add_up() -> None:
    assert Flops(1.0, 2.0, 4.0).total == 7.0
