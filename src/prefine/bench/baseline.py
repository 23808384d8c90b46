"""Compare figures with those that were committed: red only where the whole interval is worse."""

from collections.abc import Mapping, Sequence
from typing import Any

from prefine.bench.table import timed

SLACK = 0.85
"""A case is slower where its whole interval lies below this share of the earlier ratio."""


def slower(results: Sequence[Mapping[str, Any]], earlier: Mapping[str, Any]) -> list[str]:
    """Return a line for each case whose whole interval lies below 0.85 of its earlier ratio.

    Args:
        results: Figures of cases.
        earlier: A file of figures: `machine` and `cases`.
    """
    then = {made["name"]: made for made in timed(earlier["cases"])}
    found: list[str] = []
    for made in timed(results):
        if not _comparable(made, then.get(made["name"])):
            continue
        speed, before = made["speed"], then[made["name"]]["speed"]["value"]
        if speed["high"] < SLACK * before:
            found.append(
                f"slower: {made['name']}, {speed['value']:.2f} [{speed['low']:.2f}, "
                f"{speed['high']:.2f}], was {before:.2f}"
            )
    return found


def remarks(
    results: Sequence[Mapping[str, Any]], earlier: Mapping[str, Any], processor: str
) -> list[str]:
    """Return what a reader must know to judge the comparison."""
    found: list[str] = []
    if processor != earlier["machine"]["processor"]:
        found.append(
            f"The earlier figures were taken on another processor: "
            f"{earlier['machine']['processor']}, and this is {processor}. Ratios differ."
        )
    then = {made["name"]: made for made in timed(earlier["cases"])}
    lost = [m["name"] for m in timed(results) if not _comparable(m, then.get(m["name"]))]
    if lost:
        found.append(f"No earlier figures of the same work: {', '.join(lost)}.")
    return found


def _comparable(made: Mapping[str, Any], then: Mapping[str, Any] | None) -> bool:
    """Whether both are of the same work; an earlier file may know fewer fields of a case."""
    return then is not None and all(
        made["case"].get(name) == value for name, value in then["case"].items()
    )
