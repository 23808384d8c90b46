"""What the dataloader draws from: encoded rows, epoch by epoch, filled up to whole batches.

accelerate evens out the last batches of an epoch by repeating rows, which counts them twice. Here
the sampler fills up instead with rows that are marked absent: weight 0, left out of denominators,
metrics and statistics.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.utils.data import Dataset, Sampler

from prefine.protocols import Adapter, Batch

Row = Mapping[str, Any]
At = tuple[int, int, bool]


class EncodedRows(Dataset[Row]):
    """Rows by (epoch, position, present).

    Args:
        epochs: `epochs(e)` returns the encoded rows of epoch e; most data is the same each time,
            KTO's mismatched items are not.
        count: Number of rows of an epoch.
        seed: The run's seed: with the record and the epoch it gives each row its own.
        reference: Looks up the reference scores of a row's items, or None.
        features: Looks up the features of a row's items, or None.
        seeds: How many seeds a row has over all epochs, or None for a new one in each.
        anew: Whether each epoch has rows of its own.
        beside: Puts further items beside those of a row, drawn by its seed. No reference is asked
            of them, and no evaluation.
    """

    def __init__(
        self,
        epochs: Callable[[int], Sequence[Row]],
        count: int,
        *,
        seed: int = 0,
        reference: Callable[[Row], list[float]] | None = None,
        features: Callable[[Row], list[Any]] | None = None,
        seeds: int | None = None,
        anew: bool = False,
        beside: Callable[[Row], Row] | None = None,
    ) -> None:
        self.epochs, self.count, self.seed = epochs, count, seed
        self.reference, self.features, self.seeds = reference, features, seeds
        self.anew, self.beside = anew, beside

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, at: At | int) -> Row:
        row = self.alone(at)
        return row if self.beside is None else self.beside(row)

    def alone(self, at: At | int) -> Row:
        """Return a row without what is put beside it."""
        epoch, position, present = (0, at, True) if isinstance(at, int) else at
        row = dict(self.epochs(epoch)[position])
        row["absent"] = not present
        row["seed"] = row_seed(
            self.seed, row["record"], epoch if self.seeds is None else epoch % self.seeds
        )
        if self.reference is not None:
            row["reference"] = self.reference(row)
        if self.features is not None:
            row["features"] = self.features(row)
        return row


def row_seed(run: int, record: str, epoch: int) -> int:
    """Return the seed of a row: a non-negative 63-bit number from run, record and epoch."""
    digest = hashlib.sha256(f"{run}\0{record}\0{epoch}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


class FilledSampler(Sampler[At]):
    """Draws every row once an epoch, then absent rows up to a multiple of the global batch.

    Args:
        count: Number of rows.
        multiple: Rows per micro-batch times number of processes.
        shuffle: Draw in a new order each epoch.
        seed: Seed of that order.
    """

    def __init__(self, count: int, multiple: int, *, shuffle: bool, seed: int) -> None:
        self.count, self.multiple, self.shuffle, self.seed = count, multiple, shuffle, seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order and the rows of an epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.count // self.multiple) * self.multiple

    def __iter__(self) -> Iterator[At]:
        order = list(range(self.count))
        if self.shuffle:
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
            order = torch.randperm(self.count, generator=generator).tolist()
        for position in order:
            yield self.epoch, position, True
        for _ in range(len(self) - self.count):
            yield self.epoch, 0, False


def collate_in_parts(adapter: Adapter, budget: int | None, rows: Sequence[Row]) -> list[Batch]:
    """Lay rows out in parts of at most `budget` tokens (see `adapters.parts`).

    Rows that only fill a batch up are left out where others are left.
    """
    present = [row for row in rows if not row.get("absent")]
    return [adapter.collate(part) for part in adapter.split(present or rows[:1], budget)]
