"""A model's folder, and what it must hold so that other programs load it.

What transformers, vLLM and SGLang look for (their documentation, November 2026): `config.json`
with `model_type` and `architectures`, by which they choose their own implementation; weights in
safetensors, in one file or in parts with an index; the tokenizer's files. Sources: vLLM,
"Integration with Hugging Face" and "Supported models"; SGLang, "Server arguments" (`--model-path`
and `--tokenizer-path`); transformers, `AutoModel.from_pretrained`.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefine.errors import ConfigError, RunFolderError
from prefine.runs import RunFolder

CONFIG, ADAPTER = "config.json", "adapter_config.json"
WEIGHTS, ADAPTER_WEIGHTS = "model.safetensors", "adapter_model.safetensors"
INDEX = "model.safetensors.index.json"
TOKENIZERS = (
    {"tokenizer.json"},
    {"tokenizer.model"},
    {"spiece.model"},
    {"vocab.txt"},
    {"vocab.json", "merges.txt"},
)
"""Files of which one set is a tokenizer."""

RUNS_CODE = (".bin", ".pt", ".pth", ".pkl", ".ckpt", ".py")
"""Endings of pickles and programs, which run code on whoever loads them."""


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A model on disk.

    Attributes:
        path: Its folder.
        config: `config.json`, or `adapter_config.json` of adapters.
        is_adapter: Whether it holds adapters alone.
        is_reward: Whether it scores texts, and does not write them.
        base: Name of the model that adapters stand on, else None.
    """

    path: Path
    config: dict[str, Any]
    is_adapter: bool
    is_reward: bool
    base: str | None

    @property
    def kind(self) -> str:
        """What it is, in words."""
        what = "reward model" if self.is_reward else "policy"
        return f"adapters of a {what}" if self.is_adapter else what

    @classmethod
    def read(cls, name: str) -> "ModelFolder":
        """Read a model's folder, or that of the run which made it.

        Raises:
            ConfigError: If there is no model.
        """
        path = Path(model_of(name))
        if not path.is_dir():
            raise ConfigError(f"{name}: no such folder. Name a run's folder, or a model's.")
        if (path / ADAPTER).is_file():
            config = _read(path / ADAPTER)
            base = str(config.get("base_model_name_or_path") or "")
            return cls(path, config, True, config.get("task_type") == "SEQ_CLS", base)
        if not (path / CONFIG).is_file():
            raise ConfigError(
                f"{path}: there is no {CONFIG} and no {ADAPTER}, so this is no model. Name a run's "
                "folder, or a model's."
            )
        config = _read(path / CONFIG)
        names = _texts(config.get("architectures"))
        is_reward = any(name.endswith("ForSequenceClassification") for name in names)
        return cls(path, config, False, is_reward, None)


def model_of(name: str) -> str:
    """Return the folder of a run's model; any other name as it is.

    Raises:
        RunFolderError: If the run has no model yet.
    """
    run = RunFolder(name)
    if not run.config_file.is_file():
        return name
    if not run.model.is_dir():
        raise RunFolderError(
            f"{name} holds a run that has not ended, so there is no model in it. Go on with "
            "`prefine train --resume`."
        )
    return str(run.model)


def problems(folder: Path) -> list[str]:
    """Return what keeps other programs from loading a folder, one sentence each; none is best."""
    return [*_about_code(folder), *_about_weights(folder), *_about_tokenizer(folder)]


def _about_code(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*")):
        if path.suffix in RUNS_CODE:
            yield f"{path.name} may run code on whoever loads it"
    if (folder / CONFIG).is_file() and "auto_map" in _read(folder / CONFIG):
        yield f"{CONFIG} names code of its own (auto_map)"


def _about_weights(folder: Path) -> Iterator[str]:
    if (folder / ADAPTER).is_file():
        if not _read(folder / ADAPTER).get("base_model_name_or_path"):
            yield f"{ADAPTER} does not name the model that the adapters stand on"
        if not (folder / ADAPTER_WEIGHTS).is_file():
            yield f"there is no {ADAPTER_WEIGHTS}"
        return
    if not (folder / CONFIG).is_file():
        yield f"there is no {CONFIG}"
        return
    config = _read(folder / CONFIG)
    if not config.get("model_type"):
        yield f"{CONFIG} has no model_type"
    if not _texts(config.get("architectures")):
        yield f"{CONFIG} names no architectures"
    if (folder / INDEX).is_file():
        parts = set(_read(folder / INDEX).get("weight_map", {}).values())
        absent = sorted(part for part in parts if not (folder / part).is_file())
        if absent or not parts:
            yield f"{INDEX} names parts that are absent: {', '.join(absent) or 'none at all'}"
    elif not (folder / WEIGHTS).is_file():
        yield f"there is neither {WEIGHTS} nor {INDEX}"


def _about_tokenizer(folder: Path) -> Iterator[str]:
    names = {path.name for path in folder.iterdir()}
    if not any(files <= names for files in TOKENIZERS):
        yield "there is no tokenizer"
        return
    if "tokenizer_config.json" not in names:
        yield "there is no tokenizer_config.json"
        return
    own = _read(folder / "tokenizer_config.json")
    if "auto_map" in own:
        yield "tokenizer_config.json names code of its own (auto_map)"
    if "chat_template.jinja" not in names and not own.get("chat_template"):
        yield "there is no chat template, so programs would guess how messages become text"


def _texts(value: Any) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: this is not JSON. {error}") from None
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: this holds no keys and values.")
    return found
