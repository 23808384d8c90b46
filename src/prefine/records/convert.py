"""Converting: from a source to a file of prefine's own records, with nothing stored between."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

from prefine.records.load import Options, reading
from prefine.records.records import Rejects
from prefine.records.save import write


@dataclass(frozen=True, slots=True)
class Converted:
    """What was converted.

    Attributes:
        records: How many records were written.
        rejects: Rows that were not understood.
        format: Name of the format they were read from.
    """

    records: int
    rejects: Rejects
    format: str


def convert(source: Any, out: Path | str, **options: Unpack[Options]) -> Converted:
    """Write a source as prefine's own records: `load` and `Records.save` in one pass.

    Each record goes to the file as it is read, so neither memory nor scratch space is needed; the
    file appears when all is read, or not at all.

    Args:
        source: What `load` takes.
        out: File to write: `.jsonl`, `.jsonl.gz`, `.jsonl.zst` or `.parquet`.
        options: Those of `load`.

    Raises:
        PrefineError: As `load` and `Records.save` do.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> rows = [{"prompt": "2 + 2?", "chosen": "4", "rejected": "5"}]
        >>> with TemporaryDirectory() as folder:
        ...     convert(rows, f"{folder}/pairs.jsonl").records
        1
    """
    with reading(source, **options) as found:
        write(found, Path(out))
    return Converted(found.count, found.rejects, found.format)
