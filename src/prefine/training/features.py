"""Train a reward model's head alone: its trunk runs once over every response, and never again."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from accelerate.utils import send_to_device
from numpy.typing import NDArray
from torch import nn

from prefine.adapters import SequenceReward
from prefine.engine import ReferenceCache, weights_hash
from prefine.engine.packed import base_of
from prefine.storage import cache_folder
from prefine.training.distributed import best_device, main_first
from prefine.training.filling import fill, item_keys
from prefine.training.reference import config_hash, without_dropout

Row = Mapping[str, Any]


def freeze_trunk(model: nn.Module) -> None:
    """Leave the head of a reward model as all that is trained."""
    model.requires_grad_(False)
    base_of(model).score.requires_grad_(True)


def cached_features(
    rows: Sequence[Row], model: nn.Module, adapter: SequenceReward, *, progress: bool = False
) -> Callable[[Row], list[NDArray[Any]]]:
    """Compute the features of every item, or find them where an earlier run left them.

    A feature is the trunk's last hidden state at the last token, [H] float32; a store of them
    belongs to the trunk's weights, whatever head stands on it.

    Returns:
        A function that looks up the features of a row's items.
    """
    without_dropout(model)
    trunk = base_of(model).base_model
    fingerprint = {
        **adapter.fingerprint(),
        "dtype": str(next(trunk.parameters()).dtype),
        "config": config_hash(model),
    }
    with main_first():  # the others find its shards on disk
        store = ReferenceCache(cache_folder(), weights_hash(trunk), fingerprint, kind="features")
        model.to(best_device()).eval()

        def features(part: Sequence[Row]) -> list[list[NDArray[Any]]]:
            batch: Any = send_to_device(adapter.collate(part), best_device())
            with torch.no_grad():
                found = iter(adapter.features(model, batch).float().cpu().numpy())
            return [[next(found) for _ in row["roles"]] for row in part]

        fill(store, rows, features, batch_size=8, progress="features" if progress else None)
    return lambda row: [store[key] for key in item_keys(row)]
