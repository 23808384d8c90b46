"""All findings, each group on its own: one that cannot be made says so, and the others go on."""

from collections.abc import Callable, Iterable

from prefine.doctor.checks import Check
from prefine.doctor.libraries import about_extras, about_libraries, about_python
from prefine.doctor.machine import about_devices, about_disk, about_settings

GROUPS: dict[str, Callable[[], Iterable[Check]]] = {
    "python": about_python,
    "libraries": about_libraries,
    "extras": about_extras,
    "devices": about_devices,
    "settings": about_settings,
    "disk": about_disk,
}


def examine() -> list[Check]:
    """Return everything that was found out about this machine."""
    found: list[Check] = []
    for name, group in GROUPS.items():
        try:
            found += group()
        except Exception as error:  # whatever a broken library raises
            why = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            found.append(Check(name, name, "broken", f"could not be found out: {why}"))
    return found
