"""Runs that differ in their seed alone are one arm of a comparison."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from prefine.audit.measures import Floats, measures
from prefine.errors import RunFolderError
from prefine.runs import RunFolder
from prefine.storage import content_hash, json_hash

OWN = ("out", "seed", "training.data_seed")
"""Keys in which runs of one arm may differ."""

CONTENTS = "data (contents)"
"""The fingerprint of the data: a path may hold other rows than it did."""


@dataclass(frozen=True)
class Run:
    """A finished run, as far as comparing needs it.

    Attributes:
        path: Its folder.
        config: Dotted key -> value, without the keys of `OWN`.
        seed: Its seed.
        unit: `"nats"` or `"reward"`.
        metrics: One mapping a logged step.
        text: [n] hash of what each held-out row scored.
        clusters: [n] prompt of each held-out row.
        values: Measure -> [n] its number of each held-out row.
    """

    path: Path
    config: Mapping[str, Any]
    seed: int
    unit: str
    metrics: Sequence[Mapping[str, Any]]
    text: Sequence[str]
    clusters: Sequence[str]
    values: Mapping[str, Floats]

    @property
    def rows_hash(self) -> str:
        """Hash of the held-out rows, order included."""
        return content_hash(self.text)


@dataclass(frozen=True)
class Arm:
    """Runs of one configuration.

    Attributes:
        name: A letter, and what sets the arm apart where that is short.
        runs: One a seed, by seed.
    """

    name: str
    runs: Sequence[Run]

    @property
    def seeds(self) -> list[int]:
        """The seeds."""
        return [run.seed for run in self.runs]


def read_run(path: Path | str) -> Run:
    """Read a run for a comparison.

    Raises:
        RunFolderError: If it is no run, did not end, held nothing out or kept no held-out scores.
    """
    folder = RunFolder(path)
    if not folder.config_file.is_file():
        raise RunFolderError(f"{path} holds no run.yaml, so it is no run. Name a run's folder.")
    config = folder.read_config()
    header = config.pop("header", {})
    rows = folder.held_out()
    if not rows:
        raise RunFolderError(
            f"{path} holds no {folder.held_out_file.name}: the run did not end, held nothing out, "
            "or comes from an earlier prefine. Run it again, with --eval-data, to compare it."
        )
    keys = {key: value for key, value in flat(config).items() if key not in OWN}
    keys[CONTENTS] = (header.get("data") or {}).get("fingerprint")
    unit = header.get("unit", "nats")
    return Run(
        Path(path),
        keys,
        int(config.get("seed", 0)),
        unit,
        folder.metrics(),
        [row["text"] for row in rows],
        [row["cluster"] for row in rows],
        measures(rows, unit),
    )


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Write nested keys with dots.

    Example:
        >>> flat({"options": {"beta": 0.1}, "lora": None, "seed": 1})
        {'options.beta': 0.1, 'lora': None, 'seed': 1}
    """
    found: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = value
    return found


def group(runs: Sequence[Run]) -> list[Arm]:
    """Put runs that differ in their seed alone into one arm, in the order given.

    Raises:
        RunFolderError: If two runs of an arm have one seed: a repetition is no second observation.
    """
    arms: dict[str, list[Run]] = {}
    for run in runs:
        arms.setdefault(json_hash({k: str(v) for k, v in run.config.items()}), []).append(run)
    for members in arms.values():
        seen: dict[int, Path] = {}
        for run in members:
            if run.seed in seen:
                raise RunFolderError(
                    f"{seen[run.seed]} and {run.path} are the same configuration with the same "
                    f"seed {run.seed}: a repetition would count twice. Name one of them."
                )
            seen[run.seed] = run.path
    different = differences(list(arms.values()))
    return [
        Arm(_name(at, different), sorted(members, key=lambda run: run.seed))
        for at, members in enumerate(arms.values())
    ]


def differences(arms: Sequence[Sequence[Run]]) -> dict[str, list[Any]]:
    """Return key -> its value in each arm, for the keys in which arms differ."""
    configs = [members[0].config for members in arms]
    keys = dict.fromkeys(key for config in configs for key in config)
    found = {key: [config.get(key) for config in configs] for key in keys}
    return {
        key: values
        for key, values in found.items()
        if len(set(map(str, values))) > 1 and not _is_told_below(key, values, found)
    }


def _is_told_below(key: str, values: Sequence[Any], found: Mapping[str, Sequence[Any]]) -> bool:
    """Whether a key is empty where it is there, and its inner keys say what differs."""
    inner = any(other.startswith(f"{key}.") for other in found)
    return inner and all(value in ({}, None) for value in values)


SHORT = 40
"""Characters up to which what sets an arm apart is part of its name."""


def _name(at: int, different: Mapping[str, Sequence[Any]]) -> str:
    letter = chr(ord("A") + at) if at < 26 else f"A{at}"
    telling = {k: v for k, v in different.items() if k != CONTENTS}
    parts = [f"{key.rsplit('.', 1)[-1]}={values[at]}" for key, values in telling.items()]
    words = ", ".join(parts)
    return f"{letter} ({words})" if words and len(words) <= SHORT else letter


def check_rows(one: Run, other: Run) -> None:
    """Refuse to compare runs that were measured on different rows.

    Raises:
        RunFolderError: Saying how the rows differ.
    """
    if one.rows_hash == other.rows_hash:
        return
    shared = len(set(one.text) & set(other.text))
    if shared == 0 and set(one.clusters) & set(other.clusters):
        why = (
            "They ask the same prompts but score other responses, or pairs beside single "
            "responses (a list, a pair and a labelled response are different rows)."
        )
    elif sorted(one.text) == sorted(other.text):
        why = "They are the same rows in another order: the held-out file was written anew."
    else:
        why = (
            "Without --eval-data the seed of a run draws its held-out prompts; another chat "
            "template or max_length may set other rows aside."
        )
    raise RunFolderError(
        f"{one.path} was measured on {len(one.text)} held-out rows and {other.path} on "
        f"{len(other.text)}, of which {shared} are the same, so their numbers cannot be compared. "
        f"{why} Run them again with the same --eval-data."
    )


def common(arms: Sequence[Arm], wanted: Sequence[str]) -> list[str]:
    """Return the measures that every run has, or the wanted ones of them.

    Raises:
        RunFolderError: If there is none, or a wanted one is not among them.
    """
    runs = [run for arm in arms for run in arm.runs]
    names = [name for name in runs[0].values if all(name in run.values for run in runs)]
    if len({run.unit for run in runs}) > 1:  # nats beside rewards: only shares compare
        names = [name for name in names if "accuracy" in name]
    missing = [name for name in wanted if name not in names]
    if missing or not names:
        known = ", ".join(names) or "none"
        asked = f"{missing[0]!r} is not a number" if missing else "There is no number"
        raise RunFolderError(f"{asked} that all of these runs have. Common numbers: {known}.")
    return list(wanted) or names


def complete(values: Sequence[Floats]) -> Any:
    """[n] whether every run has a number for the row."""
    return ~np.isnan(np.stack(values)).any(axis=0)
