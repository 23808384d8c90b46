"""Packed rows against padded rows, through the adapters, on many architectures."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from prefine.adapters import CausalLM, SequenceReward, bind
from prefine.engine import choose_layout
from prefine.engine.layout import PackedItems
from prefine.engine.tree_attention import _Flash
from prefine.errors import EngineError
from prefine.scores import ItemScores, Needs

SMALL = {
    "vocab_size": 97, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
GPT2 = {"vocab_size": 97, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128}

GEMMA3 = {
    "head_dim": 8, "sliding_window": 6, "layer_types": ["sliding_attention", "full_attention"],
}  # fmt: skip

EXPERTS = {
    "head_dim": 8, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16,
}  # fmt: skip

MODELS: dict[str, tuple[str, dict[str, Any], bool]] = {
    "llama": ("Llama", {}, True),
    "llama, tied": ("Llama", {"tie_word_embeddings": True}, True),
    "qwen2": ("Qwen2", {}, True),
    "qwen3": ("Qwen3", {"head_dim": 8}, True),
    "mistral": ("Mistral", {"sliding_window": None}, True),
    "mistral, window": ("Mistral", {"sliding_window": 6}, False),
    "gemma2": ("Gemma2", {"head_dim": 8, "sliding_window": 6, "query_pre_attn_scalar": 8}, False),
    "gemma3": ("Gemma3Text", GEMMA3, True),
    "phi": ("Phi", {"num_key_value_heads": 4}, True),
    "phi3": ("Phi3", {"sliding_window": None}, True),
    "gpt-neox": ("GPTNeoX", {}, True),
    "gpt-2": ("GPT2", {}, True),
    "olmo": ("Olmo", {}, True),
    "olmo2": ("Olmo2", {}, True),
    "granite": ("Granite", {"logits_scaling": 4.0}, True),
    "cohere": ("Cohere", {}, True),
    "mixtral": ("Mixtral", {"num_local_experts": 4, "num_experts_per_tok": 2}, True),
    "qwen3, experts": ("Qwen3Moe", EXPERTS, True),
}
"""Name -> (class, changes of its configuration, whether flash blocks must be taken somewhere)."""

CAUSAL = {"Gemma3Text": "Gemma3ForCausalLM", "GPT2": "GPT2LMHeadModel"}


def make(kind: str, changes: dict[str, Any] | None = None, **more: Any) -> Any:
    import transformers

    values = GPT2 if kind == "GPT2" else {**SMALL, **(changes or {}), **more}
    config = getattr(transformers, f"{kind}Config")(**values)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return getattr(transformers, CAUSAL.get(kind, f"{kind}ForCausalLM"))(config).eval()


def rows() -> list[dict[str, Any]]:
    """Lists of one to five responses, of one to nine tokens, to prompts of one to twelve."""
    generator = torch.Generator().manual_seed(0)

    def tokens(count: int) -> list[int]:
        return torch.randint(3, 97, (count,), generator=generator).tolist()

    made = []
    for n, (length, lengths) in enumerate(
        [(12, (4, 9)), (3, (1,)), (1, (2, 1, 3, 2, 5)), (7, (6, 1)), (12, (3,))]
    ):
        prompt = made[0]["prompt"][0] if n == 4 else tokens(length)
        responses = [tokens(count) for count in lengths]
        masks = [[1] * count for count in lengths]
        if n == 0:
            masks[1][3:5] = [0, 0]  # another turn of the user within the response
        made.append({
            "record": f"r{n}", "roles": [f"response_{k}" for k in range(len(lengths))],
            "prompt": [prompt] * len(lengths), "response": responses, "mask": masks,
        })  # fmt: skip
    return made


class Tokenizer:
    pad_token_id, eos_token_id, chat_template = 0, 2, None


def scored(
    model: nn.Module, adapter: Any, layout: str, needs: Needs | None = None, **more: Any
) -> tuple[ItemScores, Any]:
    adapter = replace(adapter, layout=layout)
    batch = adapter.collate(rows())
    bind(model, adapter)
    return model(batch=batch, draw=None, needs=needs or Needs(), **more), batch


def gradients(model: nn.Module, value: Tensor) -> dict[str, Tensor]:
    weight = torch.linspace(-1, 2, len(value), dtype=value.dtype)
    learnt = {name: p for name, p in model.named_parameters() if p.requires_grad}
    found = torch.autograd.grad((value * weight).sum(), list(learnt.values()), allow_unused=True)
    return {name: g for name, g in zip(learnt, found, strict=True) if g is not None}


def assert_same(model: nn.Module, adapter: Any, within: float = 1e-5) -> None:
    """Values, lengths and gradients relative to the largest of each parameter."""
    padded, batch = scored(model, adapter, "padded")
    expected = gradients(model, padded.value)
    packed, packed_batch = scored(model, adapter, "packed")
    found = gradients(model, packed.value)
    assert isinstance(packed_batch["items"], PackedItems)
    assert batch["units"].tolist() == packed_batch["units"].tolist()
    assert batch["index"].tolist() == packed_batch["index"].tolist()
    assert padded.length.tolist() == packed.length.tolist()
    torch.testing.assert_close(packed.value, padded.value, rtol=within, atol=within)
    assert found.keys() == expected.keys()
    for name, one in found.items():
        largest = expected[name].abs().max().clamp(min=1e-6)
        assert float((one - expected[name]).abs().max() / largest) < within, name


@pytest.fixture
def count_flash(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    calls: list[int] = []
    plain = _Flash.forward

    def counted(*args: Any) -> Tensor:
        calls.append(1)
        return plain(*args)

    monkeypatch.setattr(_Flash, "forward", staticmethod(counted))
    return calls


@pytest.mark.parametrize("name", MODELS)
def test_causal_language_models(name: str, count_flash: list[int]) -> None:
    kind, changes, flash = MODELS[name]
    model = make(kind, changes)
    assert choose_layout(model).reason == ""
    count_flash.clear()
    assert_same(model, CausalLM(Tokenizer()))
    assert bool(count_flash) == flash


def test_gemma2_with_soft_caps() -> None:
    model = make("Gemma2", MODELS["gemma2"][1], attn_logit_softcapping=2.0,
                 final_logit_softcapping=1.5)  # fmt: skip
    assert choose_layout(model).layout == "packed"
    assert_same(model, CausalLM(Tokenizer()))


@pytest.mark.parametrize("kind", ["Llama", "Qwen3", "GPT2"])
def test_reward_models(kind: str) -> None:
    import transformers

    values = {**(GPT2 if kind == "GPT2" else SMALL), "num_labels": 1, "pad_token_id": 0}
    config = getattr(transformers, f"{kind}Config")(**values)
    torch.manual_seed(0)
    model = getattr(transformers, f"{kind}ForSequenceClassification")(config).eval()
    assert choose_layout(model, is_reward=True).layout == "packed"
    assert_same(model, SequenceReward(Tokenizer()))


def test_adapters() -> None:
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    model: Any = get_peft_model(
        make("Llama"), LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False)
    )
    assert choose_layout(model).layout == "packed"
    assert_same(model, CausalLM(Tokenizer()))


def test_gradient_checkpointing(count_flash: list[int]) -> None:
    """The layout reaches the layers again when they are computed a second time."""
    model = make("Llama").train()
    assert choose_layout(model).layout == "packed"
    model.activation_checkpointing_enable({"use_reentrant": False})
    count_flash.clear()
    assert_same(model, CausalLM(Tokenizer()))
    assert len(count_flash) == 4, "two layers, forward and again in backward"


@pytest.mark.parametrize("objective", ["log_prob", "entropy", "log_collision", "log_softmax"])
def test_elements(objective: str) -> None:
    model = make("Llama")
    choose_layout(model)
    needs = Needs(elements=frozenset({objective}))
    padded, _ = scored(model, CausalLM(Tokenizer()), "padded", needs)
    packed, _ = scored(model, CausalLM(Tokenizer()), "packed", needs)
    ours, theirs = (scores.elements[objective] for scores in (packed, padded))
    if objective != "log_softmax":  # [M, V] in order, as it is
        ours, theirs = (
            scores.elements[objective][scores.elements["mask"]] for scores in (packed, padded)
        )
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_edits_are_the_same_tokens() -> None:
    model = make("Llama")
    choose_layout(model)
    pairs = [row for row in rows() if len(row["roles"]) == 2]
    pairs[1]["response"][1] = [*pairs[1]["response"][0][:2], 96]
    pairs[1]["mask"][1] = [1, 1, 1]
    found: list[Tensor] = []
    for layout in ("padded", "packed"):
        adapter = replace(CausalLM(Tokenizer()), layout=layout)
        bind(model, adapter)
        needs = Needs(elements=frozenset({"edited"}))
        elements = model(batch=adapter.collate(pairs), draw=None, needs=needs).elements
        found.append(elements["edited"][elements["mask"]])
    assert found[0].equal(found[1])
    assert found[0].tolist()[-9:] == [0, 0, 1, 1, 1, 1, 0, 0, 1], "six tokens against three"


def test_the_divergence_from_a_reference() -> None:
    model, other = make("Llama"), make("Llama", initializer_range=0.1)
    for part in (model, other):
        choose_layout(part)
    values = {}
    for layout in ("padded", "packed"):
        table = Needs(elements=frozenset({"log_softmax"}))
        reference, _ = scored(other, CausalLM(Tokenizer()), layout, table)
        needs = Needs(elements=frozenset({"kl_reference"}))
        found, _ = scored(
            model, CausalLM(Tokenizer()), layout, needs, against=dict(reference.elements)
        )
        values[layout] = found.elements["kl_reference"].sum(1)
    torch.testing.assert_close(values["packed"], values["padded"], rtol=1e-4, atol=1e-5)


def test_bfloat16_stays_close() -> None:
    model = make("Llama").to(torch.bfloat16)
    assert choose_layout(model).layout == "packed"
    padded, _ = scored(model, CausalLM(Tokenizer()), "padded")
    packed, _ = scored(model, CausalLM(Tokenizer()), "packed")
    assert packed.value.dtype == torch.float32
    torch.testing.assert_close(packed.value, padded.value, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("kind", ["Llama", "Qwen3", "Gemma2"])
@pytest.mark.parametrize("autocast", [True, False])
def test_bfloat16_is_as_exact_as_padded_rows(kind: str, autocast: bool) -> None:
    """Both are held to float64: a packed row may round otherwise, not more."""
    changes = MODELS[kind.lower()][1]
    exact = make(kind, changes, initializer_range=0.1).double()
    if not autocast:
        exact = exact.bfloat16().double()  # the same weights; what is left is rounding on the way
    choose_layout(exact)
    truth, _ = scored(exact, CausalLM(Tokenizer()), "packed")  # Gemma 2 pads to NaN in float64
    true_gradients = gradients(exact, truth.value)
    value_error, gradient_error = {}, {}
    for layout in ("padded", "packed"):
        model = make(kind, changes, initializer_range=0.1)
        model = model if autocast else model.bfloat16()
        choose_layout(model)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            found, _ = scored(model, CausalLM(Tokenizer()), layout)
        value_error[layout] = float((found.value - truth.value).detach().norm())
        parts = gradients(model, found.value)
        gradient_error[layout] = (
            sum(
                float((parts[name].double() - true).square().sum())
                for name, true in true_gradients.items()
            )
            ** 0.5
        )
    assert value_error["packed"] <= 2 * value_error["padded"], "eleven numbers: chance is wide"
    assert gradient_error["packed"] <= 1.25 * gradient_error["padded"]


# --- models that cannot ---


def test_models_without_such_attention_keep_padded_rows() -> None:
    import transformers

    mamba = transformers.MambaForCausalLM(
        transformers.MambaConfig(vocab_size=97, hidden_size=16, num_hidden_layers=2, state_size=4)
    )
    choice = choose_layout(mamba)
    assert choice.layout == "padded"
    assert choice.reason.startswith("MambaForCausalLM has a forward that fails on a packed row")
    falcon = transformers.FalconForCausalLM(
        transformers.FalconConfig(
            vocab_size=97, hidden_size=16, num_hidden_layers=2, num_attention_heads=4
        )
    )
    before = falcon.config._attn_implementation
    choice = choose_layout(falcon)
    assert choice.layout == "padded"
    assert choice.reason == (
        "FalconForCausalLM has attention that asks for the layout 0 times in 2 layers"
    )
    assert falcon.config._attn_implementation == before, "a model that fails is left as it was"


class Shifted(nn.Linear):
    """An output layer that is no plain linear one."""

    def forward(self, hidden: Tensor) -> Tensor:
        return super().forward(hidden) + hidden.mean(-1, keepdim=True)


def test_an_unknown_output_layer_keeps_padded_rows() -> None:
    model = make("Llama")
    model.lm_head = Shifted(32, 97, bias=False)
    assert choose_layout(model).reason == ("LlamaForCausalLM has an output layer of type Shifted")


def break_values(monkeypatch: pytest.MonkeyPatch) -> None:
    from prefine.engine import tree_attention

    monkeypatch.setattr(tree_attention, "_merge", lambda *_: None)


def break_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = _Flash.backward

    def wrong(*args: Any) -> Any:
        parts = plain(*args)
        return (parts[0] * 1.1, *parts[1:])

    monkeypatch.setattr(_Flash, "backward", staticmethod(wrong))


@pytest.mark.parametrize(
    ("planted", "says"),
    [(break_values, "values that differ by"), (break_gradients, "gradients that differ by")],
)
def test_a_model_that_gives_other_numbers_is_found_out(
    planted: Callable[[pytest.MonkeyPatch], None], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted(monkeypatch)
    model = make("Llama")
    choice = choose_layout(model)
    assert choice.layout == "padded"
    assert says in choice.reason


def test_a_packed_batch_prepares_its_model_or_says_why_not() -> None:
    """A reference that somebody loaded by hand is checked when its first batch comes."""
    fresh, prepared = make("Llama"), make("Llama")
    choose_layout(prepared)
    found, _ = scored(fresh, CausalLM(Tokenizer()), "packed")
    expected, _ = scored(prepared, CausalLM(Tokenizer()), "packed")
    assert found.value.equal(expected.value)
    broken = make("Llama")
    broken.lm_head = Shifted(32, 97, bias=False)
    with pytest.raises(EngineError, match=r"batch is packed, but .* type Shifted. Lay it out"):
        scored(broken, CausalLM(Tokenizer()), "packed")


def test_a_model_may_be_checked_again() -> None:
    model = make("Llama")
    assert choose_layout(model).layout == choose_layout(model).layout == "packed"
    assert choose_layout(copy.deepcopy(model)).layout == "packed"


def test_checking_leaves_no_trace() -> None:
    model = make("Llama").train()
    state = torch.random.get_rng_state()
    choose_layout(model)
    assert model.training
    assert all(p.grad is None for p in model.parameters())
    assert torch.random.get_rng_state().equal(state)


def test_other_calls_are_as_before(tmp_path: Any) -> None:
    """Generation pads on the left and masks; saving writes no implementation."""
    model, plain = make("Llama"), make("Llama")
    choose_layout(model)
    ids = torch.tensor([[0, 0, 5, 6], [4, 5, 6, 7]])
    settings = {
        "attention_mask": (ids != 0).long(), "max_new_tokens": 3, "do_sample": False,
        "pad_token_id": 0,
    }  # fmt: skip
    assert model.generate(ids, **settings).equal(plain.generate(ids, **settings))
    model.save_pretrained(tmp_path)
    assert "prefine" not in (tmp_path / "config.json").read_text()
