"""Libraries against the ranges that prefine declares, and the extras that are not installed."""

import importlib
import platform
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, metadata, version

from prefine.doctor.checks import Check

PACKAGE = "prefine"
IMPORTED = {"pyyaml": "yaml"}
"""Distributions whose module has another name."""

BRINGS = {
    "zstd": "reads and writes .zst files",
    "pictures": "models that draw pictures: train, generate, data encode",
    "serve": "a reward model behind an address: prefine serve reward",
    "test": "what `make test` needs",
    "docs": "what `make docs` needs",
    "dev": "linters and types",
}
"""What each extra adds."""


def about_python() -> Iterator[Check]:
    """Say which Python this is, and which prefine."""
    found = platform.python_version()
    wanted = (_metadata("Requires-Python") or [">=3.11"])[0]
    fits = _fits(found, wanted)
    says = f"{found} ({platform.python_implementation()}, {platform.platform()})"
    if fits:
        yield Check("python", "python", "ok", says)
    else:
        yield Check("python", "python", "broken", f"{says}; needed {wanted}", "install it")
    try:
        yield Check("python", PACKAGE, "ok", f"{version(PACKAGE)}, {sys.prefix}")
    except PackageNotFoundError:
        yield Check("python", PACKAGE, "note", "not installed, run from its sources")


def about_libraries() -> Iterator[Check]:
    """Compare what is installed with what is declared, and import it."""
    for name, wanted, extra in requirements():
        if extra is None:
            yield _library(name, wanted)


def about_extras() -> Iterator[Check]:
    """Say which extras are there, and what the others would add."""
    extras: dict[str, list[tuple[str, str]]] = {}
    for name, wanted, extra in requirements():
        if extra is not None:
            extras.setdefault(extra, []).append((name, wanted))
    for extra, parts in extras.items():
        absent = [name for name, wanted in parts if not _has(name, wanted)]
        adds = BRINGS.get(extra, ", ".join(name for name, _ in parts))
        if absent:
            says = f"{adds} (absent or too old: {', '.join(absent)})"
            yield Check("extras", extra, "missing", says, f"pip install 'prefine[{extra}]'")
        else:
            yield Check("extras", extra, "ok", adds)


def requirements() -> list[tuple[str, str, str | None]]:
    """Return what is declared: (distribution, range, extra or None)."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    found: list[tuple[str, str, str | None]] = []
    for text in _metadata("Requires-Dist"):
        wanted = Requirement(text)
        name = canonicalize_name(wanted.name)
        for extra in (None, *_metadata("Provides-Extra")):
            if wanted.marker is None or wanted.marker.evaluate({"extra": extra or ""}):
                found.append((name, str(wanted.specifier), extra))
                break
    return found


def _metadata(key: str) -> list[str]:
    try:
        return metadata(PACKAGE).get_all(key) or []
    except PackageNotFoundError:
        return []


def _library(name: str, wanted: str) -> Check:
    do = f"pip install '{name}{wanted}'"
    try:
        found = version(name)
    except PackageNotFoundError:
        return Check("libraries", name, "broken", f"not installed; needed {wanted}", do)
    if not _fits(found, wanted):
        return Check("libraries", name, "broken", f"{found}; needed {wanted}", do)
    try:
        importlib.import_module(IMPORTED.get(name, name.replace("-", "_")))
    except Exception as error:  # a torn installation raises whatever it likes
        why = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        again = f"pip install --force-reinstall '{name}{wanted}'"
        return Check(
            "libraries", name, "broken", f"{found}, but it cannot be imported: {why}", again
        )
    return Check("libraries", name, "ok", f"{found} ({wanted})")


def _has(name: str, wanted: str) -> bool:
    try:
        return _fits(version(name), wanted)
    except PackageNotFoundError:
        return False


def _fits(found: str, wanted: str) -> bool:
    from packaging.specifiers import SpecifierSet

    return SpecifierSet(wanted).contains(found, prereleases=True)
