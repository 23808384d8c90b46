"""All entries, by name."""

import importlib
from functools import cache

from prefine.errors import ConfigError
from prefine.ledger import experiments
from prefine.ledger.entry import Entry
from prefine.ledger.outcome import Outcome, load
from prefine.ledger.provenance import RESULTS
from prefine.objectives.options import nearest


@cache
def entries() -> dict[str, Entry]:
    """Return every entry, by name, in the order of `experiments.MODULES`.

    A module of experiments has `ENTRY`, or `ENTRIES` where several claims share their code.

    Raises:
        ConfigError: If two entries have the same name.
    """
    found: dict[str, Entry] = {}
    for name in experiments.MODULES:
        module = importlib.import_module(f"{experiments.__name__}.{name}")
        for entry in getattr(module, "ENTRIES", None) or (module.ENTRY,):
            if entry.name in found:
                raise ConfigError(f"Two entries of the ledger are called {entry.name}.")
            found[entry.name] = entry
    return found


def find(name: str) -> Entry:
    """Return an entry; `-` may stand for `_`, and a number such as `#92` or `92` for its name.

    Raises:
        ConfigError: If there is none, or a number has several; names the nearest.
    """
    known = entries()
    wanted = name.replace("-", "_")
    if wanted in known:
        return known[wanted]
    numbered = [e for e in known.values() if f"#{name.removeprefix('#')}" in e.numbers]
    if len(numbered) == 1:
        return numbered[0]
    if numbered:
        names = ", ".join(entry.name for entry in numbered)
        raise ConfigError(f"{name} has several entries: {names}. Name one.")
    raise ConfigError(f"There is no entry {name} in the ledger. {nearest(wanted, known)}")


def outcomes() -> dict[str, Outcome | None]:
    """Return the kept outcome of every entry; None where there is none of its declaration."""
    return {name: load(entry, RESULTS) for name, entry in entries().items()}
