"""The word world's language model: trained from scratch on its corpus, once, then cached."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from prefine.ledger.worlds import tiny, words
from prefine.storage import atomic_folder, atomic_text, cache_folder, json_hash
from prefine.training.config import RunConfig
from prefine.training.progress import quieten
from prefine.training.run import train

BRIEFLY = {
    "eval_strategy": "no",
    "save_strategy": "no",
    "logging_strategy": "no",
    "dataloader_pin_memory": False,
    "use_cpu": True,
}
"""For runs of seconds: measured at the end, started anew when killed, the same everywhere."""


@dataclass(frozen=True, slots=True)
class BaseSettings:
    """How the language model is trained.

    Attributes:
        corpus: Number of answers in its corpus.
        epochs: Passes over the corpus.
        batch_size: Answers per step.
        learning_rate: Peak of a linear schedule.
    """

    corpus: int = 12_000
    epochs: int = 4
    batch_size: int = 48
    learning_rate: float = 6e-3


def base_model(prompts: Sequence[str], seed: int, settings: BaseSettings) -> Path:
    """Return the folder of a seed's language model; train it if the cache lacks it.

    The cache is `$PREFINE_CACHE`, or `~/.cache/prefine`. Its key follows from all that the model
    depends on: what the world says, the network, the settings and the seed.

    Args:
        prompts: What the corpus answers.
        seed: Of the weights, the corpus and the order of training.
        settings: How it is trained.
    """
    network = tiny.language_model(seed)
    excerpt = words.corpus(prompts, len(prompts), seed)
    parts = [excerpt, tiny.tokenizer().get_vocab(), network.config.to_diff_dict(), asdict(settings)]
    folder = cache_folder() / "word-world" / json_hash([seed, *parts])
    if not folder.is_dir():
        quieten()
        with atomic_folder(folder) as part:
            network.save_pretrained(part / "untrained")
            tiny.tokenizer().save_pretrained(part / "untrained")
            rows = words.corpus(prompts, settings.corpus, seed)
            _imitate(part, write_rows(part / "corpus.jsonl", rows), seed, settings)
    return folder / "run" / "model"


def _imitate(folder: Path, corpus: Path, seed: int, settings: BaseSettings) -> None:
    config = RunConfig(
        objective="sft",
        model=str(folder / "untrained"),
        data=str(corpus),
        out=str(folder / "run"),
        holdout=0,
        seed=seed,
        training={
            **BRIEFLY,
            "num_train_epochs": settings.epochs,
            "per_device_train_batch_size": settings.batch_size,
            "learning_rate": settings.learning_rate,
            "adam_beta2": 0.99,  # there are some thousand steps in all
        },
    )
    train(config, quiet=True)


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Write rows as JSON lines; return the path."""
    with atomic_text(path) as handle:
        handle.writelines(json.dumps(row) + "\n" for row in rows)
    return path
