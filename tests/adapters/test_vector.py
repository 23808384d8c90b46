"""The last hidden state of a response: packed, padded and plain, with adapters, under a head."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor, nn

from prefine.adapters import CausalLM, bind
from prefine.engine import choose_layout
from prefine.engine.packed import base_of
from prefine.scores import Needs
from prefine.training.degree_head import attach_head

SMALL: dict[str, Any] = {
    "vocab_size": 97, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
CAPPED: dict[str, Any] = {"head_dim": 8, "sliding_window": 6, "query_pre_attn_scalar": 8}

MODELS: dict[str, Callable[[], Any]] = {
    "llama": lambda: transformers.LlamaForCausalLM(transformers.LlamaConfig(**SMALL)),
    "qwen3": lambda: transformers.Qwen3ForCausalLM(
        transformers.Qwen3Config(**{**SMALL, "head_dim": 8})
    ),
    "gemma2, soft caps": lambda: transformers.Gemma2ForCausalLM(
        transformers.Gemma2Config(**{**SMALL, **CAPPED, "final_logit_softcapping": 1.5})
    ),
    "gpt-2": lambda: transformers.GPT2LMHeadModel(
        transformers.GPT2Config(vocab_size=97, n_embd=32, n_layer=2, n_head=4, n_positions=128)
    ),
}


class Tokenizer:
    pad_token_id, eos_token_id, chat_template = 0, 2, None


VECTOR = Needs(vector=True)


def rows() -> list[dict[str, Any]]:
    """Pairs of unequal lengths whose responses end in a scored token."""
    rng = np.random.default_rng(0)
    made: list[dict[str, Any]] = []
    for n in range(4):
        prompt = rng.integers(3, 97, 3 + n)
        responses = [rng.integers(3, 97, count) for count in (2 + n, 6 - n)]
        masks = [np.ones(len(r), dtype=bool) for r in responses]
        masks[1][0] = False
        made.append({
            "record": f"r{n}", "roles": ["chosen", "rejected"], "prompt": [prompt, prompt],
            "response": responses, "mask": masks,
        })  # fmt: skip
    return made


def vectors(model: nn.Module, layout: Any, needs: Needs = VECTOR) -> Tensor:
    adapter = replace(CausalLM(Tokenizer()), layout=layout)
    scores = bind(model, adapter)(batch=adapter.collate(rows()), draw=None, needs=needs)
    assert scores.vector is not None
    return scores.vector


def plain(model: nn.Module) -> Tensor:
    """One response at a time, without padding."""
    trunk: Any = base_of(model).base_model
    items = [
        torch.tensor(np.concatenate([prompt, response]))
        for row in rows()
        for prompt, response in zip(row["prompt"], row["response"], strict=True)
    ]
    return torch.stack(
        [trunk(input_ids=ids[None], use_cache=False).last_hidden_state[0, -1] for ids in items]
    )


def gradients(model: nn.Module, found: Tensor) -> dict[str, Tensor]:
    weight = torch.linspace(-1, 2, found.numel()).reshape(found.shape)
    learnt = {name: p for name, p in model.named_parameters() if p.requires_grad}
    taken = torch.autograd.grad((found * weight).sum(), list(learnt.values()), allow_unused=True)
    return {name: g for name, g in zip(learnt, taken, strict=True) if g is not None}


def assert_same(model: nn.Module) -> None:
    expected = plain(model)
    wanted = gradients(model, expected)
    for layout in ("padded", "packed"):
        found = vectors(model, layout)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
        taken = gradients(model, found)
        assert taken.keys() >= wanted.keys()
        for name, one in taken.items():
            other = wanted.get(name, torch.zeros(()))  # an output layer of its own hears nothing
            largest = other.abs().max().clamp(min=1e-5)
            assert float((one - other).abs().max() / largest) < 1e-4, (layout, name)


@pytest.mark.parametrize("name", MODELS)
def test_equal_to_the_plain_forward_pass(name: str) -> None:
    torch.manual_seed(0)
    model = MODELS[name]().eval()
    assert choose_layout(model).layout == "packed"
    assert_same(model)


def test_with_adapters() -> None:
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    lora = LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False)
    model: Any = get_peft_model(MODELS["llama"](), lora).eval()
    assert choose_layout(model).layout == "packed"
    assert_same(model)
    names = {name for name, p in model.named_parameters() if p.requires_grad}
    assert all("lora" in name for name in names)


def test_beside_whole_distributions() -> None:
    """Logits that are wanted whole take the same hidden states."""
    torch.manual_seed(0)
    model = MODELS["llama"]().eval()
    choose_layout(model)
    both = VECTOR | Needs(elements=frozenset({"log_collision"}))
    for layout in ("padded", "packed"):
        torch.testing.assert_close(vectors(model, layout, both), vectors(model, layout))


def test_nobody_pays_who_does_not_ask() -> None:
    torch.manual_seed(0)
    adapter = CausalLM(Tokenizer())
    assert adapter.score(MODELS["llama"](), adapter.collate(rows())).vector is None


@pytest.mark.parametrize("layout", ["padded", "packed"])
def test_a_head_on_the_model_reads_it(layout: str) -> None:
    torch.manual_seed(0)
    model = MODELS["llama"]().eval()
    choose_layout(model)
    hidden = vectors(model, layout)
    head = attach_head(model, 4, 1e-3)
    nn.init.normal_(head.weight)
    nn.init.normal_(head.bias)
    by_hand = hidden @ head.weight.T / 32**0.5 + head.bias
    torch.testing.assert_close(vectors(model, layout), by_hand)
