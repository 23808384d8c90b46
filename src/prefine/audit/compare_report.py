"""A comparison for a person: tables for the terminal, a page with the curves one over another."""

from collections.abc import Iterator
from typing import Any

from prefine.audit.comparison import Comparison, Difference, curves_of
from prefine.audit.measures import MEANINGS
from prefine.report import Facts, Gallery, Prose, Report, Section, Stats, stat_table
from prefine.report.panels import overlaid
from prefine.report.text import number

MOST_DRAWN = 5
"""Arms that have a colour of their own in a picture."""


def tables(comparison: Comparison) -> Iterator[Any]:
    """Yield the tables of a comparison, for a terminal."""
    for arm in comparison.arms:
        seeds = ", ".join(map(str, arm.seeds))
        yield stat_table(comparison.means[arm.name], f"{arm.name}: seeds {seeds}")
    if not comparison.differences:
        return
    named = {_title(difference): difference for difference in comparison.differences}
    yield stat_table(
        {name: difference.stat for name, difference in named.items()},
        "Differences",
        {
            "p": {name: p_text(difference.p) for name, difference in named.items()},
            "p (Holm)": {name: p_text(difference.p_holm) for name, difference in named.items()},
            "": {name: "differs" if d.differs else "" for name, d in named.items()},
        },
    )


def settings_lines(comparison: Comparison) -> list[str]:
    """Return what differs between the configurations, a line a key."""
    names = [arm.name.split(" ", 1)[0] for arm in comparison.arms]
    return [
        f"{key}: " + "; ".join(f"{n} {value}" for n, value in zip(names, values, strict=True))
        for key, values in comparison.settings.items()
    ]


def p_text(p: float) -> str:
    """Write a p-value.

    Example:
        >>> p_text(0.0312), p_text(0.00009)
        ('0.031', '< 0.001')
    """
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def comparison_report(comparison: Comparison) -> Report:
    """Return the page of a comparison, for `prefine.report.render`."""
    facts = {
        arm.name: {
            "runs": ", ".join(str(run.path) for run in arm.runs),
            "seeds": ", ".join(map(str, arm.seeds)),
        }
        for arm in comparison.arms
    }
    letters = [arm.name.split(" ", 1)[0] for arm in comparison.arms]
    settings = {
        key: {letter: str(value) for letter, value in zip(letters, values, strict=True)}
        for key, values in comparison.settings.items()
    }
    sections = [
        Section("What is compared", [Facts(facts), *([Facts(settings)] if settings else [])]),
        *_differences(comparison),
        *(
            Section(
                f"Held-out numbers of {arm.name}", [Stats(comparison.means[arm.name], MEANINGS)]
            )
            for arm in comparison.arms
        ),
    ]
    drawn = comparison.arms[:MOST_DRAWN]
    figures = overlaid({arm.name: curves_of(arm) for arm in drawn})
    if figures:
        blocks: list[Any] = [Gallery(figures)]
        several = [arm.name for arm in drawn if len(arm.runs) > 1]
        if several:
            blocks.insert(0, Prose(f"Means over seeds: {', '.join(several)}."))
        if len(drawn) < len(comparison.arms):
            blocks.insert(0, Prose(f"The first {MOST_DRAWN} of {number(len(comparison.arms))}."))
        sections.append(Section("Curves", blocks))
    return Report(f"{len(comparison.arms)} runs side by side", sections, in_words(comparison))


def in_words(comparison: Comparison) -> str:
    """Say in a sentence or two what differs, all comparisons considered."""
    if not comparison.differences:
        return "The runs differ in their seed alone: one configuration, nothing to compare it with."
    told = [d for d in comparison.differences if d.differs]
    count = len(comparison.differences)
    if not told:
        return (
            f"None of {count} differences can be told from chance. That is no proof of "
            "equality: see how wide the intervals are."
        )
    return (
        f"{len(told)} of {count} differences are more than chance: "
        + "; ".join(
            f"{_title(d)} {number(d.stat.value, (d.stat.high - d.stat.low) / 2)}" for d in told[:6]
        )
        + ("; …" if len(told) > 6 else ".")
    )


def _differences(comparison: Comparison) -> list[Section]:
    if not comparison.differences:
        return []
    rows = {_title(difference): difference.stat for difference in comparison.differences}
    meanings = {
        _title(d): f"{MEANINGS.get(d.measure, '')}; p {p_text(d.p)}, after Holm {p_text(d.p_holm)}"
        + (": differs" if d.differs else "")
        for d in comparison.differences
    }
    note = (
        f"P-values are adjusted after Holm for the {len(rows)} differences of this table; the "
        "intervals are not. Over rows, an interval says whether these models differ; over seeds, "
        "whether the configurations do."
    )
    return [Section("Differences", [Stats(rows, meanings), Prose(note)])]


def _title(difference: Difference) -> str:
    first, second = (n.split(" ", 1)[0] for n in (difference.first, difference.second))
    return f"{first} − {second}  {difference.measure}"
