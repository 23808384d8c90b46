"""Small tokenizers of every kind that matters to encoding, trained here on a few sentences."""

from collections.abc import Callable
from functools import cache
from typing import Any

from prefine.adapters.words import PATTERNS

SENTENCES = [
    "The quick brown fox, it's said, jumps over the lazy dog; doesn't it?",
    'In 2024 there were 1,234 ways to say "hello" \u2014 na\u00efve ones, too.',
    "And more:\n\n - one\n - two",
    "Yes.\nNo.\nWhy?\n\nx = f(y);\n}\n/ a.\n b.\n\n c;\r\n d/\n e/\n",
    "user asks, assistant answers. What is 2 + 2? It is 4. \u6570\u636e\u5f88\u597d",
    "    indented code(x, y)\n\treturn x\u00a0+ y  # done",
] * 3
SPECIAL = ["<|pad|>", "<|bos|>", "<|im_start|>", "<|im_end|>"]


def byte_level(pattern: str | None = None, *, bos: bool = False, **options: Any) -> Any:
    """BPE over bytes: GPT-2's pattern, or another; `bos` adds one where special tokens are.

    Options go to `ByteLevel`.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    made = Tokenizer(models.BPE())
    options = {"add_prefix_space": False, "use_regex": pattern is None, **options}
    last = pre_tokenizers.ByteLevel(**options)
    if pattern is None:
        made.pre_tokenizer = last  # type: ignore[assignment]
    else:
        split = pre_tokenizers.Split(Regex(pattern), "isolated")
        made.pre_tokenizer = pre_tokenizers.Sequence([split, last])  # type: ignore[assignment]
        made.normalizer = normalizers.NFC()  # type: ignore[assignment]
    made.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    return _trained(made, pre_tokenizers.ByteLevel.alphabet(), bos)


def metaspace() -> Any:
    """BPE over characters, as SentencePiece does it, without a pattern: merges reach anywhere."""
    from tokenizers import Tokenizer, decoders, models, normalizers

    made = Tokenizer(models.BPE(unk_token="<|pad|>", fuse_unk=True, byte_fallback=False))
    made.normalizer = normalizers.Sequence(  # type: ignore[assignment]
        [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
    )
    made.decoder = decoders.Replace("\u2581", " ")  # type: ignore[assignment]
    return _trained(made, sorted(set("".join(SENTENCES))), True)


def in_python() -> Any:
    """A tokenizer written in Python: bytes, no BOS."""
    from transformers import ByT5Tokenizer

    return ByT5Tokenizer(extra_ids=0)


def _trained(made: Any, alphabet: list[str], bos: bool) -> Any:
    from tokenizers import processors, trainers
    from transformers import PreTrainedTokenizerFast

    made.train_from_iterator(
        SENTENCES,
        trainers.BpeTrainer(
            vocab_size=len(alphabet) + 150,
            special_tokens=SPECIAL,
            initial_alphabet=alphabet,
            show_progress=False,
        ),
    )
    if bos:
        made.post_processor = processors.TemplateProcessing(
            single="<|bos|> $A", special_tokens=[("<|bos|>", 1)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token="<|pad|>",
        bos_token="<|bos|>",
        eos_token="<|im_end|>",
        additional_special_tokens=["<|im_start|>"],
    )


TOKENIZERS: dict[str, Callable[[], Any]] = {
    "GPT-2": byte_level,
    **{name: lambda p=pattern: byte_level(p, bos=True) for name, pattern in PATTERNS.items()},
    "no pattern": lambda: byte_level(use_regex=False),
    "metaspace": metaspace,
    "in Python": in_python,
}
"""By name; the first four can be tokenised word by word."""


@cache
def tokenizer(name: str) -> Any:
    """Return the tokenizer of a name, trained once."""
    return TOKENIZERS[name]()
