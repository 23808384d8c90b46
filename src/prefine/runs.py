"""A run's folder, read and written in one place.

::

    run.yaml        the resolved configuration, versions and fingerprints
    metrics.jsonl   one row a step, from our own sums
    summary.json    what the run ended with
    held_out.jsonl  the scores of every held-out row, so that runs can be compared row by row
    report.html     for a person
    rejects.jsonl   rows of the data that could not be read, where there are any
    model/          the trained model
    checkpoints/    to resume from
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from prefine.errors import RunFolderError
from prefine.storage import atomic_text

PART = ".part"
CHECKPOINT = "checkpoint-"
REJECTS, EVAL_REJECTS = "rejects.jsonl", "eval.rejects.jsonl"
TARGET_REJECTS = "target.rejects.jsonl"
ALL_REJECTS = (REJECTS, EVAL_REJECTS, TARGET_REJECTS)
"""Unreadable rows, written before a run starts; a run that did not start may be tried again."""


def entries(folder: Path) -> set[str]:
    """Return the names in a folder that is to be written; none where there is no such folder.

    Raises:
        RunFolderError: If a file has this name.

    Example:
        >>> entries(Path("no/such/folder"))
        set()
    """
    if folder.exists() and not folder.is_dir():
        raise RunFolderError(f"{folder} is a file. Name a folder for --out.")
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


class RunFolder:
    """The folder of one run.

    Args:
        path: Where it is; nothing is made before `open`.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     run = RunFolder(Path(folder) / "run").open()
        ...     run.append({"step": 1, "loss": 0.5})
        ...     run.append({"step": 2, "loss": 0.4})
        ...     run.cut_back(1)
        ...     run.metrics()
        [{'step': 1, 'loss': 0.5}]
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    @property
    def config_file(self) -> Path:
        """The resolved configuration."""
        return self.path / "run.yaml"

    @property
    def metrics_file(self) -> Path:
        """One JSON row a step."""
        return self.path / "metrics.jsonl"

    @property
    def summary_file(self) -> Path:
        """What the run ended with."""
        return self.path / "summary.json"

    @property
    def held_out_file(self) -> Path:
        """One JSON row a held-out row: who it is and how it was scored."""
        return self.path / "held_out.jsonl"

    @property
    def checkpoints(self) -> Path:
        """Where checkpoints are kept."""
        return self.path / "checkpoints"

    @property
    def model(self) -> Path:
        """Where the trained model is kept."""
        return self.path / "model"

    @property
    def base(self) -> Path:
        """Where a model is kept that adapters were trained on and that stood nowhere as a whole."""
        return self.path / "base"

    def open(self, *, resume: bool = False) -> "RunFolder":
        """Make the folder, or enter the one of an earlier run.

        Raises:
            RunFolderError: If the folder is not empty and `resume` is false, or `resume` is
                true and there is nothing to resume.
        """
        filled = self.is_filled()
        if filled and not resume:
            raise RunFolderError(
                f"{self.path} is not empty, and a new run would overwrite it. Pass --resume to go "
                "on with the run in it, or name another folder."
            )
        if resume and filled and not self.config_file.is_file():
            raise RunFolderError(
                f"{self.path} holds no run.yaml, so there is no run to resume in it. Name the "
                "--out of an earlier run, or an empty folder without --resume."
            )
        self.path.mkdir(parents=True, exist_ok=True)
        return self

    def is_filled(self) -> bool:
        """Whether the folder holds more than what an attempt that never started left behind."""
        return not entries(self.path) <= set(ALL_REJECTS)

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Write the resolved configuration."""
        with atomic_text(self.config_file) as handle:
            yaml.safe_dump(dict(config), handle, sort_keys=False, allow_unicode=True)

    def read_config(self) -> dict[str, Any]:
        """Read the resolved configuration back."""
        return yaml.safe_load(self.config_file.read_text(encoding="utf-8"))

    def read_summary(self) -> dict[str, Any] | None:
        """Read what the run ended with; None if it did not end."""
        if not self.summary_file.is_file():
            return None
        return json.loads(self.summary_file.read_text(encoding="utf-8"))

    def write_held_out(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write the scores of the held-out rows, all at once."""
        with atomic_text(self.held_out_file) as handle:
            for row in rows:
                handle.write(json.dumps(row, allow_nan=False) + "\n")

    def held_out(self) -> list[dict[str, Any]] | None:
        """Read the scores of the held-out rows back; None if the run kept none."""
        if not self.held_out_file.is_file():
            return None
        lines = self.held_out_file.read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]

    def append(self, row: Mapping[str, Any]) -> None:
        """Append one row of metrics, on disk before this returns."""
        with self.metrics_file.open("a", encoding="utf-8", newline="\n") as handle:
            handle.write(json.dumps(row, allow_nan=False) + "\n")
            handle.flush()
            os.fsync(handle.fileno())

    def metrics(self) -> list[dict[str, Any]]:
        """Return all rows of metrics."""
        return list(self._rows())

    def cut_back(self, step: int) -> None:
        """Drop rows after `step`, and a row that a kill left half written."""
        rows = [row for row in self._rows() if row["step"] <= step]
        with atomic_text(self.metrics_file) as handle:
            for row in rows:
                handle.write(json.dumps(row, allow_nan=False) + "\n")

    def _rows(self) -> Iterator[dict[str, Any]]:
        if not self.metrics_file.is_file():
            return
        for line in self.metrics_file.read_text(encoding="utf-8").splitlines():
            try:
                yield json.loads(line)
            except json.JSONDecodeError:
                return  # a torn last line: everything after a checkpoint is computed again

    def last_checkpoint(self) -> tuple[Path | None, list[str]]:
        """Return the newest whole checkpoint, and the names of torn ones that were skipped."""
        whole: dict[int, Path] = {}
        torn: list[str] = []
        for path in sorted(self.checkpoints.glob("*")) if self.checkpoints.is_dir() else []:
            number = path.name.removeprefix(CHECKPOINT)
            if path.name.endswith(PART) or (number.isdigit() and not _is_whole(path)):
                torn.append(path.name)
            elif number.isdigit():
                whole[int(number)] = path
        return (whole[max(whole)] if whole else None), torn


def seal(checkpoint: Path) -> None:
    """Write down which files a checkpoint holds and how long they are, so that a torn one shows."""
    files = {
        str(path.relative_to(checkpoint)): path.stat().st_size
        for path in sorted(checkpoint.rglob("*"))
        if path.is_file() and path.name != "files.json"
    }
    with atomic_text(checkpoint / "files.json") as handle:
        json.dump(files, handle, indent=1)


def _is_whole(checkpoint: Path) -> bool:
    try:
        files = json.loads((checkpoint / "files.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return False
    return all(
        (checkpoint / name).is_file() and (checkpoint / name).stat().st_size == size
        for name, size in files.items()
    )
