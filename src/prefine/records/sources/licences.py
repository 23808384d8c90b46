"""The licence of a data set, where the data set itself states it.

It stands in the front matter of the README beside the files (the data card, as the Hub has it), or
in the `dataset_info` that the `datasets` library writes. Whose data it is does not follow from the
shape of its rows, so formats say nothing about licences.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

CARD = "README.md"
INFOS = ("dataset_info.json", "dataset_infos.json")
"""Of one configuration, as `Dataset.save_to_disk` writes it; and of several, by name."""

SILENT = ("", "unknown", "none", "n/a")
"""What stands where no licence is known."""

FENCE = "---"


def licence_in(said: Mapping[str, Any]) -> str | None:
    """Return the licence that the fields of a data card name; None if they name none.

    Several are joined. `other` is the Hub's word for a licence of its own, whose name and address
    stand beside it.

    Example:
        >>> licence_in({"license": "cc-by-4.0"}), licence_in({"license": "unknown"})
        ('cc-by-4.0', None)
        >>> licence_in({"license": ["mit", "apache-2.0"]})
        'mit, apache-2.0'
        >>> licence_in({"license": "other", "license_name": "research-only"})
        'other: research-only'
    """
    value = said.get("license")
    values = cast(Sequence[Any], value) if isinstance(value, list | tuple) else [value]
    texts = [" ".join(text.split()) for text in values if isinstance(text, str)]
    named = [text for text in texts if text.casefold() not in SILENT]
    if not named:
        return None
    beside = (said.get("license_name"), said.get("license_link"))
    told = [text.strip() for text in beside if isinstance(text, str) and text.strip()]
    return ", ".join(named) + (f": {told[0]}" if named == ["other"] and told else "")


def licence_of_card(text: str) -> str | None:
    r"""Return the licence in the front matter of a data card; prose is not searched.

    Example:
        >>> licence_of_card("---\nlicense: mit\n---\n# Pairs")
        'mit'
        >>> licence_of_card("# Pairs\nLicence: mit")
    """
    import yaml

    first, *lines = text.removeprefix("\ufeff").splitlines() or [""]
    closed = [at for at, line in enumerate(lines) if line.rstrip() == FENCE]
    if first.rstrip() != FENCE or not closed:
        return None
    try:
        said = yaml.safe_load("\n".join(lines[: closed[0]]))
    except (yaml.YAMLError, ValueError, RecursionError):
        return None  # a torn card names nothing; the data can still be read
    return licence_in(cast(Mapping[str, Any], said)) if isinstance(said, dict) else None


def licence_beside(file: Path, root: Path) -> str | None:
    """Return the licence that the folder of a file states, or the nearest folder above it.

    Args:
        file: The data file.
        root: Where to stop: the folder that was asked for.
    """
    for folder in (file.parent, *file.parent.parents):
        found = next(_stated(folder), None)
        if found is not None or folder == root or root not in folder.parents:
            return found
    return None


def _stated(folder: Path) -> Iterator[str]:
    card = _text(folder / CARD)
    if card is not None and (named := licence_of_card(card)) is not None:
        yield named
    for name in INFOS:
        text = _text(folder / name)
        if text is None:
            continue
        try:
            said: Any = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(said, dict):
            yield from _of_infos(cast(dict[str, Any], said))


def _of_infos(said: Mapping[str, Any]) -> Iterator[str]:
    """One licence, if all configurations name the same one."""
    inner = [cast(dict[str, Any], info) for info in said.values() if isinstance(info, dict)]
    infos = [said] if "license" in said else [info for info in inner if "license" in info]
    named = {licence_in(info) for info in infos}
    if len(named) == 1 and (only := named.pop()) is not None:
        yield only


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeError):
        return None
