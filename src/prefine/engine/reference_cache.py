"""A store of what a frozen model says of items, on disk, shared by runs, objectives and sweeps.

A store belongs to one scorer: the hash of its weights, the adapter's fields and the chat template
name its folder. In it, an item's key is the hash of its tokens and of which of them are scored.
Values are written in shards that appear whole or not at all, so a killed run loses the shard it
was filling and nothing else. A shard is named by the hash of what is in it; one whose content was
changed since is not read, and its scores are computed again. Numbers are held in memory, arrays are
left on disk and read when they are asked for.
"""

import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file
from torch import nn

from prefine.storage import atomic_file, content_hash, json_hash

KEY_BYTES = 16

logger = logging.getLogger("prefine.engine")


def item_key(prompt: Sequence[int], response: Sequence[int], mask: Sequence[int]) -> bytes:
    """Return the key of an item: 16 bytes that depend on its tokens and its mask alone.

    Example:
        >>> item_key([1], [2, 3], [1, 1]) == item_key([1, 2], [3], [1])
        False
    """
    digest = hashlib.sha256()
    digest.update(len(prompt).to_bytes(8, "little"))
    for part in (prompt, response, mask):
        digest.update(np.asarray(part, dtype=np.int64).tobytes())
    return digest.digest()[:KEY_BYTES]


def weights_hash(model: nn.Module) -> str:
    """Return a hash of a model's parameters and buffers, names and values."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(str(tensor.dtype).encode())
        digest.update(str(tuple(tensor.shape)).encode())
        flat = tensor.detach().to("cpu").contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b"")
    return digest.hexdigest()[:16]


class ReferenceCache:
    """Reference scores, or features, by item key.

    Args:
        folder: Where stores live; this store is one folder in it.
        weights: Hash of the scorer's weights.
        fingerprint: The adapter's fields that change a score.
        kind: What is stored: `reference`, a float64 number each; or `features`, a float32 array.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     cache = ReferenceCache(Path(folder), "w", {"adapter": "a"})
        ...     cache.add({item_key([1], [2], [1]): -0.5})
        ...     again = ReferenceCache(Path(folder), "w", {"adapter": "a"})
        ...     again[item_key([1], [2], [1])], len(again)
        (-0.5, 1)
    """

    def __init__(
        self,
        folder: Path,
        weights: str,
        fingerprint: Mapping[str, Any],
        *,
        kind: Literal["reference", "features"] = "reference",
    ) -> None:
        self.key = json_hash({"weights": weights, **fingerprint})
        self.folder = folder / kind / self.key
        self._on_disk = kind == "features"
        self._values: dict[bytes, Any] = {}
        for shard in sorted(self.folder.glob("*.safetensors")):
            self._read(shard)

    def _read(self, shard: Path) -> None:
        try:
            tensors = load_file(shard)
            keys, values = tensors["keys"].tobytes(), tensors["values"]
        except (SafetensorError, KeyError):
            keys, values = b"", np.empty(0)
        if shard.stem != _shard_name(keys, values):
            logger.warning("%s is damaged: what it held is computed again.", shard)
            return
        starts = range(0, len(keys), KEY_BYTES)
        self._keep([keys[at : at + KEY_BYTES] for at in starts], values, shard)

    def _keep(self, keys: Sequence[bytes], values: NDArray[Any], shard: Path) -> None:
        """Hold numbers, or where the arrays stand."""
        found = [(shard, at) for at in range(len(keys))] if self._on_disk else values.tolist()
        self._values.update(zip(keys, found, strict=True))

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, key: bytes) -> bool:
        return key in self._values

    def __getitem__(self, key: bytes) -> Any:
        found = self._values[key]
        return _opened(found[0])[found[1]] if self._on_disk else found

    def missing(self, keys: Iterable[bytes]) -> list[bytes]:
        """Return the distinct keys that are not stored, in the order given."""
        return [key for key in dict.fromkeys(keys) if key not in self._values]

    def add(self, values: Mapping[bytes, Any]) -> None:
        """Store numbers, or arrays of one shape, on disk first."""
        if not values:
            return
        keys, numbers = b"".join(values), np.asarray(list(values.values()))
        shard = self.folder / f"{_shard_name(keys, numbers)}.safetensors"
        with atomic_file(shard) as part:
            save_file({"keys": np.frombuffer(keys, dtype=np.uint8), "values": numbers}, part)
        self._keep(list(values), numbers, shard)


@lru_cache(maxsize=64)
def _opened(shard: Path) -> Any:
    """The arrays of a shard, each read when it is asked for; few files stay open at once."""
    return safe_open(shard, framework="np").get_slice("values")


def _shard_name(keys: bytes, values: NDArray[Any]) -> str:
    return content_hash([keys, values.tobytes()])
