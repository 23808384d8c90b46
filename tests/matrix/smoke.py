"""What a fresh installation must do: say its help, examine itself, train, evaluate, export.

Run by the Python of that installation, in an empty folder, without the sources.
"""

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

SHOWN = ("prefine", "torch", "transformers", "accelerate", "peft", "datasets", "huggingface-hub")


def make_start(folder: Path) -> None:
    """Write a tiny model, its tokenizer and pairs."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    special = ["<|pad|>", "<|im_start|>", "<|im_end|>"]
    words = special + sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE(vocab={word: n for n, word in enumerate(words)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore
    backend.decoder = decoders.ByteLevel()  # type: ignore
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<|pad|>", eos_token="<|im_end|>"
    )
    config = LlamaConfig(
        vocab_size=len(words), hidden_size=16, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, pad_token_id=0, eos_token_id=2,
        bos_token_id=None,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder / "start")
    tokenizer.save_pretrained(folder / "start")
    rows = [
        {"prompt": f"say {n}", "chosen": "yes " * (n % 3 + 1), "rejected": "no"} for n in range(24)
    ]
    text = "\n".join(map(json.dumps, rows))
    (folder / "pairs.jsonl").write_text(text, encoding="utf-8")


def prefine(*words: str) -> str:
    """Run a command; warnings of its libraries are shown, errors end the test."""
    command = [str(Path(sys.executable).with_name("prefine")), *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(
            f"prefine {' '.join(words)}: exit {done.returncode}\n{done.stdout[-2000:]}"
        )
    return done.stdout


def main() -> None:
    folder = Path.cwd()
    import prefine as package

    assert "preference" in (package.__doc__ or "").lower()
    assert "train" in prefine("--help")
    examined: dict[str, Any] = json.loads(prefine("doctor", "--json"))
    assert not examined["broken"]
    make_start(folder)
    words = (
        "--model",
        "start",
        "--data",
        "pairs.jsonl",
        "--set",
        "training.use_cpu=true",
        "--json",
    )
    json.loads(prefine("train", "dpo", "--out", "dpo", *words))
    json.loads(prefine("train", "dpo", "--out", "lora", "--lora", *words))
    json.loads(prefine("train", "reward", "--out", "reward", *words))
    json.loads(prefine("evaluate", "reward", "reward/model", "pairs.jsonl", "--json"))
    json.loads(prefine("export", "lora", "--merge", "--out", "merged", "--json"))
    from transformers import AutoModelForCausalLM

    AutoModelForCausalLM.from_pretrained("merged")
    print(json.dumps({name: version(name) for name in SHOWN}))


if __name__ == "__main__":
    main()
