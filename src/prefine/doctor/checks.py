"""One finding, and how bad it is."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

State = Literal["ok", "note", "missing", "broken"]
"""`note`: to be known; `missing`: optional and absent; `broken`: required, and does not work."""


@dataclass(frozen=True, slots=True)
class Check:
    """One finding.

    Attributes:
        group: What it is about, e.g. `libraries`.
        name: Of what.
        state: How bad it is.
        says: What was found.
        do: What to do about it, or "".
    """

    group: str
    name: str
    state: State
    says: str
    do: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return asdict(self)


def failed(checks: Iterable[Check]) -> bool:
    """Whether something that prefine needs does not work.

    Example:
        >>> failed([Check("extras", "zstd", "missing", "not installed")])
        False
    """
    return any(check.state == "broken" for check in checks)
