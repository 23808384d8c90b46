"""LoRA adapters of one base as a weighted sum: tried as a model, and written as one adapter."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from prefine.errors import ConfigError
from prefine.models.export import Exported, about_base, copy_files, new_folder, sizes_of
from prefine.models.folder import ADAPTER, ADAPTER_WEIGHTS, ModelFolder
from prefine.models.load import load_policy
from prefine.storage import atomic_folder, write_json

DOWN, UP = ".lora_A.weight", ".lora_B.weight"
CARD = "README.md"

PLAIN: Mapping[str, tuple[Any, ...]] = {
    "peft_type": ("LORA",),
    "use_dora": (False, None),
    "bias": ("none", None),
    "lora_bias": (False, None),
    "modules_to_save": (None, []),
    "rank_pattern": (None, {}),
    "alpha_pattern": (None, {}),
    "init_lora_weights": (True, False),
}
"""Keys of an adapter's configuration -> values under which it changes a weight by scale * B A."""

SHARED = ("target_modules", "fan_in_fan_out", "task_type")
"""Keys that must agree, so that all change the same weights in the same way."""


def adapters_of(names: Sequence[str]) -> list[ModelFolder]:
    """Read the folders of adapters that can be added up.

    Args:
        names: Folders of runs, of their models, or of adapters; two or more.

    Raises:
        ConfigError: If there are fewer than two, one holds no plain LoRA adapters of a policy, or
            they do not stand on one base and change the same modules.
    """
    if len(names) < 2:
        raise ConfigError(f"A combination needs two adapters or more, got {len(names)}.")
    found = [ModelFolder.read(name) for name in names]
    if len({folder.path.resolve() for folder in found}) < len(found):
        raise ConfigError("The same adapters are named twice, and shares of them mean nothing.")
    for folder in found:
        if not folder.is_adapter or folder.is_reward:
            raise ConfigError(
                f"{folder.path} holds the {folder.kind}. Only LoRA adapters of a policy add up: "
                "train with --lora."
            )
        for key, allowed in PLAIN.items():
            if folder.config.get(key, allowed[0]) not in allowed:
                raise ConfigError(
                    f"{folder.path}: {key} is {folder.config[key]!r}, so these adapters change "
                    "more than a sum of B A would hold. Merge them into the base instead."
                )
        _same(found[0], folder)
    return found


def _same(first: ModelFolder, other: ModelFolder) -> None:
    if first.base != other.base:
        raise ConfigError(
            f"{first.path} stands on {first.base} and {other.path} on {other.base}. A sum of "
            "adapters means something on one base only."
        )
    for key in SHARED:
        one, two = (
            sorted(value) if isinstance(value, list) else value
            for value in (first.config.get(key), other.config.get(key))
        )
        if one != two:
            raise ConfigError(
                f"{first.path} and {other.path} differ in {key} ({one} and {two}), so they do not "
                "change the same weights. Train both with the same `lora` block."
            )


class Mixture:
    """A base with several adapters switched on at once, in shares that can be changed.

    Args:
        folders: As `adapters_of` returns them.
        dtype: Precision of the weights, as for `load_policy`.
    """

    def __init__(self, folders: Sequence[ModelFolder], *, dtype: str = "float32") -> None:
        from peft import PeftModel

        base = load_policy(str(folders[0].base), dtype=dtype)
        self.names = [f"part{n}" for n in range(len(folders))]
        first, *others = zip(self.names, folders, strict=True)
        self.model: Any = PeftModel.from_pretrained(base, str(first[1].path), first[0])
        for name, folder in others:
            self.model.load_adapter(str(folder.path), name)
        self.model.base_model.set_adapter(self.names)
        self.model.requires_grad_(False).eval()

    def share(self, shares: Sequence[float]) -> nn.Module:
        """Return the model with each adapter scaled by its share."""
        from peft.tuners.lora import LoraLayer

        for layer in self.model.modules():
            if isinstance(layer, LoraLayer):
                for name, share in zip(self.names, shares, strict=True):
                    layer.set_scale(name, share)
        return self.model

    @contextmanager
    def base(self) -> Iterator[nn.Module]:
        """Switch all adapters off."""
        with self.model.disable_adapter():
            yield self.model


def combine_adapters(names: Sequence[str], shares: Sequence[float], out: Path | str) -> Exported:
    """Write one adapter whose change of every weight is the weighted sum of those of several.

    The factors stand side by side, so the sum is exact and the ranks add up; averaging the factors
    themselves would give the product of two averages, another model.

    Args:
        names: As for `adapters_of`.
        shares: One factor each.
        out: Folder to write; it must not exist or be empty. Tokenizer and template are the first's.

    Raises:
        ConfigError: As `adapters_of`; or if there is not one finite share each.
        RunFolderError: If `out` is not empty.

    Source:
        Qi et al. 2024, arXiv:2406.05534 (COFS-DPO), the combination of domain adapters.
    """
    out = new_folder(out)
    folders = adapters_of(names)
    if len(shares) != len(folders) or not bool(torch.tensor(shares).isfinite().all()):
        raise ConfigError(
            f"{len(folders)} adapters need as many finite shares, got {list(shares)}."
        )
    parts = [_weights(folder) for folder in folders]
    rank = sum(int(folder.config["r"]) for folder in folders)
    with atomic_folder(out) as part:
        copy_files(folders[0], part, weights=False)
        _write(_joined(folders, parts, shares), part / ADAPTER_WEIGHTS)
        config = {**folders[0].config, "r": rank, "lora_alpha": rank, "use_rslora": False}
        write_json(part / ADAPTER, config)
        (part / CARD).write_text(_card(folders, shares), encoding="utf-8")
        sizes = sizes_of(part)
    return Exported(out, folders[0].kind, sizes, (about_base(str(folders[0].base)),))


def _weights(folder: ModelFolder) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    path = folder.path / ADAPTER_WEIGHTS
    if not path.is_file():
        raise ConfigError(f"{folder.path}: there is no {ADAPTER_WEIGHTS}.")
    found = load_file(str(path))
    strange = sorted(key for key in found if not key.endswith((DOWN, UP)))
    if strange:
        raise ConfigError(f"{path} holds {strange[0]}, which is no factor of a LoRA update.")
    return found


def _joined(
    folders: Sequence[ModelFolder], parts: Sequence[dict[str, Tensor]], shares: Sequence[float]
) -> dict[str, Tensor]:
    keys = parts[0].keys()
    for folder, part in zip(folders, parts, strict=True):
        if part.keys() != keys:
            odd = min(part.keys() ^ keys)
            raise ConfigError(f"{folder.path}: {odd} is not in all adapters: they do not add up.")
    joined: dict[str, Tensor] = {}
    for key in keys:
        if key.endswith(DOWN):
            joined[key] = torch.cat([part[key] for part in parts], dim=0).contiguous()
            continue
        scaled = [
            share * _scale(folder.config) * part[key].float()
            for folder, part, share in zip(folders, parts, shares, strict=True)
        ]
        joined[key] = torch.cat(scaled, dim=1).to(parts[0][key].dtype).contiguous()
    return joined


def _scale(config: Mapping[str, Any]) -> float:
    rank = float(config["r"])
    return float(config["lora_alpha"]) / (rank**0.5 if config.get("use_rslora") else rank)


def _write(weights: dict[str, Tensor], path: Path) -> None:
    from safetensors.torch import save_file

    save_file(weights, str(path), metadata={"format": "pt"})


def _card(folders: Sequence[ModelFolder], shares: Sequence[float]) -> str:
    said = [
        f"- {share:g} of `{folder.path.parent.name}/{folder.path.name}`"
        for folder, share in zip(folders, shares, strict=True)
    ]
    front = json.dumps(str(folders[0].base))
    tags = "library_name: peft\ntags: [prefine, preference-alignment]"
    about = "# Combined adapters\n\nA weighted sum of LoRA adapters that stand on one base:"
    base = "" if Path(str(folders[0].base)).exists() else f"base_model: {front}\n"
    return f"---\n{base}{tags}\n---\n\n{about}\n\n" + "\n".join(said) + "\n"
