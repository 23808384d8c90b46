"""Models, prompts and responses of a case: made from a seed, nothing is downloaded.

Both sides' processes use this file; it imports nothing of prefine. A word is a token, so prompts
and responses have the lengths that the case says.
"""

import random
from pathlib import Path
from typing import Any

PRESETS: dict[str, dict[str, Any]] = {
    "d4k": {"vocab_size": 4096, "num_hidden_layers": 12},
    "s32k": {"vocab_size": 32000, "num_hidden_layers": 8},
    "s151k": {"vocab_size": 151936, "num_hidden_layers": 8, "tie_word_embeddings": True},
    "m1b": {
        "vocab_size": 128256, "num_hidden_layers": 16, "hidden_size": 2048,
        "intermediate_size": 8192, "num_attention_heads": 32, "num_key_value_heads": 8,
        "tie_word_embeddings": True, "initializer_range": 0.02,
    },
    "m8b": {
        "vocab_size": 128256, "num_hidden_layers": 32, "hidden_size": 4096,
        "intermediate_size": 14336, "num_attention_heads": 32, "num_key_value_heads": 8,
        "initializer_range": 0.02,
    },
    "tiny": {
        "vocab_size": 64, "num_hidden_layers": 2, "hidden_size": 16, "intermediate_size": 32,
        "num_attention_heads": 2, "num_key_value_heads": 1,
    },
}  # fmt: skip
"""Shapes of Qwen2: a head of 8% of the products, as in a 7B model; of half; of four fifths; then
those of models of 1.2 and 8 billion parameters."""

SHAPE = {
    "hidden_size": 384, "intermediate_size": 1024, "num_attention_heads": 6,
    "num_key_value_heads": 2, "tie_word_embeddings": False, "max_position_embeddings": 8192,
    "initializer_range": 0.04, "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": None,
    "use_cache": False,
}  # fmt: skip

SPREAD = 0.5
"""Lengths lie evenly within this share of their mean."""

Group = tuple[list[int], list[list[int]]]
"""A prompt's tokens, and those of its responses, best first."""


def make_model(case: dict[str, Any], seed: int = 1234) -> Any:
    """Return the model of a case; equal weights for equal cases and seeds, in any process."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen2ForSequenceClassification

    torch.manual_seed(seed)
    reward = case["task"] == "reward"
    labels = {"num_labels": 1} if reward else {}
    config = Qwen2Config(**{**SHAPE, **PRESETS[case["preset"]], **labels})
    config._attn_implementation = "sdpa"
    kind = Qwen2ForSequenceClassification if reward else Qwen2ForCausalLM
    with torch.device(case["device"]):
        model = kind(config)
    return model.bfloat16() if case["precision"] == "bfloat16" else model.float()


def owned_bytes(case: dict[str, Any], model: Any) -> int:
    """Return the bytes of a model's weights, and of gradients and AdamW's state if trained."""
    trains = case["task"] != "score"
    return sum(
        p.numel() * p.element_size() * (4 if trains and p.requires_grad else 1)
        for p in model.parameters()
    )


def lora_config() -> Any:
    """Return adapters on every linear layer of the trunk."""
    from peft import LoraConfig

    names = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    return LoraConfig(r=16, lora_alpha=32, target_modules=names)


def start_adapters(model: Any) -> None:
    """Give both sides' adapters equal first halves; their second halves start at 0."""
    import torch

    generator = torch.Generator().manual_seed(99)
    with torch.no_grad():
        for name, weight in sorted(model.named_parameters()):
            if "lora_A" in name:
                weight.copy_(0.05 * torch.randn(weight.shape, generator=generator))


def make_groups(case: dict[str, Any], steps: int) -> list[Group]:
    """Return the prompts of all steps with their responses; token 1 is EOS and 0 padding."""
    rng = random.Random(7)
    size = PRESETS[case["preset"]]["vocab_size"]

    def words(mean: int) -> list[int]:
        count = max(2, round(mean * (1 + SPREAD * (2 * rng.random() - 1))))
        return [rng.randrange(2, size) for _ in range(count)]

    return [
        (
            words(case["prompt"]),
            [[*words(case["response"])[:-1], 1] for _ in range(case["responses"])],
        )
        for _ in range(case["prompts"] * steps)
    ]


def make_tokenizer(case: dict[str, Any]) -> Any:
    """Return a tokenizer in which every word is one token."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    size = PRESETS[case["preset"]]["vocab_size"]
    vocabulary = {"<pad>": 0, "<eos>": 1, **{f"w{n}": n for n in range(2, size)}}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # type: ignore[assignment]
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>")


def to_text(tokens: list[int]) -> str:
    """Return the text of tokens."""
    return " ".join("<eos>" if token == 1 else f"w{token}" for token in tokens)


def training_arguments(case: dict[str, Any], steps: int, folder: Path) -> dict[str, Any]:
    """Return the arguments of transformers' Trainer, the same for both sides."""
    return {
        "output_dir": str(folder), "max_steps": steps, "learning_rate": 1e-5,
        "lr_scheduler_type": "constant", "warmup_steps": 0, "weight_decay": 0.0,
        "max_grad_norm": 1.0, "optim": "adamw_torch_fused", "logging_strategy": "no",
        "report_to": "none", "save_strategy": "no", "disable_tqdm": True,
        "use_cpu": case["device"] == "cpu", "bf16": case["precision"] == "mixed",
        "gradient_checkpointing": case["checkpointing"], "seed": 0,
        "dataloader_num_workers": 0, "dataloader_pin_memory": False,
    }  # fmt: skip
