"""Programs of several stages, each from records and a model to records and a model."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefine.errors import ConfigError, RunFolderError
from prefine.records import Records, load
from prefine.runs import entries
from prefine.storage import json_hash, write_json

Run = Callable[[Records, str, Path], tuple[Records, str]]
"""`run(records, model, folder)` returns records and a model."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A step of a program.

    Attributes:
        name: Of its folder.
        run: What it does; what it writes goes into the folder that it is given.
    """

    name: str
    run: Run


def run_stages(
    stages: Sequence[Stage],
    records: Records,
    model: str,
    out: Path,
    *,
    identity: Any,
    resume: bool = False,
    on_stage: Callable[[str, int, int], None] | None = None,
) -> tuple[Records, str]:
    """Run stages one after the other, with a checkpoint after each.

    Args:
        stages: In order; names differ.
        records: What the first one reads.
        model: Folder or Hub name that it starts from.
        out: Folder of the program; each stage has one inside.
        identity: JSON of all that the program depends on; a resumed one must be the same.
        resume: Go on after the last stage that ended.
        on_stage: `on_stage(name, done, of)`, before each.

    Returns:
        What the last stage returned.

    Raises:
        RunFolderError: If the folder holds something else, or another program.
        ConfigError: If two stages share a name, or there are none.
    """
    names = [stage.name for stage in stages]
    if not names or len(set(names)) < len(names):
        raise ConfigError(f"A program needs stages with names of their own, got {names}.")
    mark = {"hash": json_hash([identity, names]), "stages": names, "identity": identity}
    _open(out, mark, resume)
    for at, stage in enumerate(stages):
        folder = out / f"{at}-{stage.name}"
        done = folder / "done.json"
        if not done.is_file():
            if on_stage is not None:
                on_stage(stage.name, at, len(stages))
            shutil.rmtree(folder, ignore_errors=True)  # of a stage that was cut off
            folder.mkdir()
            records, model = stage.run(records, model, folder)
            records.save(folder / "records.jsonl")
            write_json(done, {"model": model})
        records = load(str(folder / "records.jsonl"))
        model = json.loads(done.read_text(encoding="utf-8"))["model"]
    return records, model


def _open(out: Path, mark: dict[str, Any], resume: bool) -> None:
    file = out / "program.json"
    if not entries(out):
        out.mkdir(parents=True, exist_ok=True)
        write_json(file, mark)
        return
    if not file.is_file():
        raise RunFolderError(f"{out} is not empty and holds no program. Name another folder.")
    if not resume:
        raise RunFolderError(f"{out} holds a program. Go on with --resume, or name another folder.")
    if json.loads(file.read_text(encoding="utf-8"))["hash"] != mark["hash"]:
        raise RunFolderError(
            f"{out} holds another program: its settings differ from these. Name another folder, or "
            "give the settings of its program.json."
        )
