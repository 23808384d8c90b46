"""Write a model as a folder that other programs load: nothing in it needs prefine, or runs code."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from prefine.adapters.templates import ChatTemplate
from prefine.errors import ConfigError, RunFolderError
from prefine.models.folder import ADAPTER, CONFIG, RUNS_CODE, ModelFolder, model_of, problems
from prefine.models.load import load_policy, load_reward_model, load_tokenizer
from prefine.models.picture_export import export_pictures
from prefine.models.pictures import adapters_stand_on, is_picture_model
from prefine.models.reward import RewardCard
from prefine.models.template import template_for_others
from prefine.runs import entries
from prefine.storage import atomic_folder, write_json

LEFT_OUT = (*RUNS_CODE, ".part")
"""Endings of files that stay behind."""

OF_WEIGHTS = (".safetensors", ".safetensors.index.json")


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written.

    Attributes:
        folder: Where.
        kind: What the model is, in words.
        files: Name -> bytes.
        notes: What whoever loads it must know.
    """

    folder: Path
    kind: str
    files: Mapping[str, int] = field(default_factory=dict[str, int])
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return {
            "folder": str(self.folder),
            "kind": self.kind,
            "files": dict(self.files),
            "notes": list(self.notes),
        }


def export_model(name: str, out: Path | str, *, merge: bool = False) -> Exported:
    """Write the folder of a model, with its tokenizer, chat template and card.

    Args:
        name: Folder of a run, of its model, or of LoRA adapters.
        out: Folder to write; it must not exist or be empty.
        merge: Fold adapters into their base, computed in float32 and kept in the base's own
            precision.

    Raises:
        ConfigError: If there is nothing to merge, or others could not load what was written.
        RunFolderError: If `out` is not empty.
    """
    out = new_folder(out)
    source = Path(model_of(name))
    if source.is_dir() and is_picture_model(str(source)):
        return _export_pictures(source, out, merge=merge)
    found = ModelFolder.read(name)
    if merge and not found.is_adapter:
        raise ConfigError(f"{found.path} holds a whole model: there is nothing to merge.")
    with atomic_folder(out) as part:
        copy_files(found, part, weights=not merge)
        if merge:
            _merged(found).save_pretrained(part)
        wrong = problems(part)
        if wrong:
            raise ConfigError(f"{found.path} cannot be exported: {'; '.join(wrong)}.")
        notes = _settle(part, found.is_reward)
        sizes = sizes_of(part)
    if found.is_adapter and not merge:
        notes.append(about_base(str(found.base)))
    return Exported(out, ModelFolder.read(str(out)).kind, sizes, tuple(notes))


def new_folder(out: Path | str) -> Path:
    """Return the path of a folder that is to be written.

    Raises:
        RunFolderError: If it is not empty.
    """
    out = Path(out)
    if entries(out):
        raise RunFolderError(f"{out} is not empty. Name another folder for --out.")
    return out


def _export_pictures(source: Path, out: Path, *, merge: bool) -> Exported:
    with atomic_folder(out) as part:
        kind, notes = export_pictures(source, part, merge=merge)
        sizes = sizes_of(part)
    base = adapters_stand_on(str(source))
    if base is not None and not merge:
        notes.append(about_base(base))
    return Exported(out, kind, sizes, tuple(notes))


def sizes_of(folder: Path) -> dict[str, int]:
    """Return name -> bytes of a folder's files."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}


def copy_files(found: ModelFolder, part: Path, *, weights: bool) -> None:
    """Copy what other programs load, with or without the weights."""
    for path in sorted(found.path.iterdir()):
        is_weight = path.name.endswith(OF_WEIGHTS) or path.name == ADAPTER
        if path.is_file() and path.suffix not in LEFT_OUT and (weights or not is_weight):
            shutil.copyfile(path, part / path.name)


def _merged(found: ModelFolder) -> Any:
    """The base with its adapters folded in."""
    import torch
    from transformers import AutoConfig

    name = str(found.path)
    if found.is_reward:
        model = load_reward_model(name, tokenizer=load_tokenizer(name), new_head=False)
    else:
        model = load_policy(name)
    base = AutoConfig.from_pretrained(str(found.base), trust_remote_code=False)
    return model.to(getattr(base, "dtype", None) or torch.float32)


def _settle(part: Path, is_reward: bool) -> list[str]:
    """Set what training set for itself, and what other programs read; return what is to be said."""
    if (part / CONFIG).is_file():
        config = json.loads((part / CONFIG).read_text(encoding="utf-8"))
        config["use_cache"] = True  # off while training; writing without it is slow
        if is_reward:
            # transformers' pipeline and vLLM squash a single logit unless it is said to be a number
            config["problem_type"] = "regression"
        write_json(part / CONFIG, config)
    return _settle_template(part, is_reward)


def _settle_template(part: Path, is_reward: bool) -> list[str]:
    tokenizer = load_tokenizer(str(part))
    source, notes = template_for_others(tokenizer, is_reward=is_reward)
    if source is None:
        return []
    tokenizer.chat_template = source
    tokenizer.save_pretrained(part)
    card = RewardCard.load(part)
    if card is not None:
        name = f"{card.template}, as exported"
        replace(card, template=name, template_hash=ChatTemplate.choose(tokenizer).hash).save(part)
    return notes


def about_base(base: str) -> str:
    """Say what adapters stand on."""
    if Path(base).exists():
        return (
            f"the adapters stand on {base}, a folder of this machine: nobody else can load "
            "them. Export with --merge to let them leave it."
        )
    return f"the adapters stand on {base}, which is loaded with them"
