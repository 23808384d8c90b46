"""What runs in tests start from."""

import json
from pathlib import Path
from typing import Any


def write_start(folder: Path, model: Any, tokenizer: Any) -> Path:
    """Write `model/` and `pairs.jsonl`, in messages, of 24 prompts; return the folder."""
    model.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    rows = [
        {
            "prompt": [{"role": "user", "content": f"say {n}"}],
            "chosen": [{"role": "assistant", "content": "yes " * (n % 3 + 1)}],
            "rejected": [{"role": "assistant", "content": "no " * (n % 4 + 1)}],
        }
        for n in range(24)
    ]
    text = "\n".join(json.dumps(row) for row in rows)
    (folder / "pairs.jsonl").write_text(text, encoding="utf-8")
    return folder
