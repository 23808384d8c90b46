"""The ledger as a page: a table of all claims, then each with its picture and its numbers."""

from collections.abc import Mapping
from pathlib import Path

from prefine.ledger.entry import Entry
from prefine.ledger.outcome import Outcome, Verdict
from prefine.ledger.picture import picture
from prefine.report.canvas import on_white
from prefine.report.text import stat_text
from prefine.storage import atomic_text

HEAD = """# The ledger

Made by `prefine ledger table` from the results that travel with the package; no line of it is
written by hand.

Each entry tests the headline claim of a published method on a problem whose answer is known.
Bounds, world, baseline, seeds and grid are committed before the first result. A bound *holds* when
the whole 95% interval over seeds lies inside it. The *control* is the same code without what is
claimed to matter, and has to miss: it *fails* when its whole interval lies outside. A claim is
**reproduced** when every bound holds and its control fails, **partly** when some do, and **not
reproduced** otherwise: then what was tried stands below.

In the pictures a dot is a seed, a bar its 95% interval, and the shaded zone is where the claim
says that the method belongs.

"""


def write_page(
    outcomes: Mapping[str, Outcome | None], entries: Mapping[str, Entry], docs: Path
) -> Path:
    """Write `ledger.md` and a picture an entry into `ledger/`; return the page's path.

    Pictures of entries that are no more are removed.
    """
    folder = docs / "ledger"
    folder.mkdir(parents=True, exist_ok=True)
    found = {name: outcome for name, outcome in outcomes.items() if outcome is not None}
    for old in folder.glob("*.svg"):
        if old.stem not in found:
            old.unlink()
    alts: dict[str, str] = {}
    for name, outcome in found.items():
        drawn = picture(outcome)
        alts[name] = drawn.alt
        with atomic_text(folder / f"{name}.svg") as handle:
            handle.write(on_white(drawn.svg) + "\n")
    page = docs / "ledger.md"
    with atomic_text(page) as handle:
        handle.write(HEAD)
        handle.write(_summary(outcomes))
        handle.write(_table(outcomes, entries))
        for name, entry in entries.items():
            handle.write(_section(entry, outcomes[name], alts.get(name, "")))
    return page


def _summary(outcomes: Mapping[str, Outcome | None]) -> str:
    states = [outcome.status if outcome else "not run" for outcome in outcomes.values()]
    counted = [f"{states.count(state)} {state}" for state in dict.fromkeys(sorted(states))]
    return f"{len(states)} entries: {', '.join(counted)}.\n\n"


def _table(outcomes: Mapping[str, Outcome | None], entries: Mapping[str, Entry]) -> str:
    lines = ["| entry | system | status | found | control |", "|---|---|---|---|---|"]
    for name, entry in entries.items():
        outcome = outcomes[name]
        link, numbers = f"[`{name}`](#ledger-{name})", ", ".join(entry.numbers)
        if outcome is None:
            lines.append(f"| {link} | {numbers} | not run | | |")
            continue
        first = outcome.verdicts[0]
        control = "" if first.control is None else stat_text(first.control)
        lines.append(
            f"| {link} | {numbers} | {outcome.status} | {first.bound.measure} "
            f"{stat_text(first.found)} | {control} |"
        )
    return "\n".join(lines) + "\n\n"


def _section(entry: Entry, outcome: Outcome | None, alt: str) -> str:
    path = entry.module.replace(".", "/")
    lines = [
        f"(ledger-{entry.name})=", f"## {entry.name}", "",
        f"**Claim.** {entry.claim} *{entry.source}*", "",
        f"**World.** {entry.world}", "",
        f"**Baseline.** {entry.baseline} **Control.** {entry.control}", "",
    ]  # fmt: skip
    if entry.grid:
        tried = "; ".join(
            f"{name} in {', '.join(f'{value:g}' for value in values)}"
            for name, values in entry.grid.items()
        )
        lines += [f"**Grid**, for each arm alike: {tried}.", ""]
    if outcome is None:
        lines += ["Not run yet.", ""]
    else:
        lines += [f"![{alt}](ledger/{entry.name}.svg)", "", _numbers(outcome), ""]
    if entry.tried:
        lines += [f"**Tried.** {entry.tried}", ""]
    made = "" if outcome is None else f" {_made(outcome)}"
    lines += [f"[The experiment](../src/{path}.py).{made}", "", ""]
    return "\n".join(lines)


def _numbers(outcome: Outcome) -> str:
    lines = ["| bound | found | control | |", "|---|---|---|---|"]
    for verdict in outcome.verdicts:
        control = "" if verdict.control is None else stat_text(verdict.control)
        lines.append(
            f"| {verdict.bound.says}: {verdict.bound} | {stat_text(verdict.found)} | {control} | "
            f"{said(verdict)} |"
        )
    bounded = {f"{b.measure}{end}" for b in outcome.entry.bounds for end in ("", "/control")}
    others = [
        f"{name} {stat_text(stat)}" for name, stat in outcome.figures.items() if name not in bounded
    ]
    beside = f"\n\nBeside it: {'; '.join(others)}." if others else ""
    return "\n".join(lines) + f"\n\nStatus: **{outcome.status}**." + beside


def said(verdict: Verdict) -> str:
    """Say in words what came of a bound."""
    if verdict.bound.holds(verdict.found):
        if verdict.control is None:
            return "holds"
        return "holds, control fails" if verdict.proved else "holds, but so may the control"
    return (
        "missed" if verdict.bound.fails(verdict.found) else "open: the interval crosses the bound"
    )


def _made(outcome: Outcome) -> str:
    made, seeds = outcome.made, [run.seed for run in outcome.runs]
    commit = f" at {made['commit'][:10]}" if made.get("commit") else ""
    return (
        f"Run on {made['date']}{commit}, seeds {seeds[0]} to {seeds[-1]}, "
        f"{outcome.seconds:.0f} core-seconds, torch {made['torch']}."
    )
