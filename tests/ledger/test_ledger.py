"""The ledger keeps its own rules: what counts as proof, what is recorded, and what is rerun."""

import json
import math
import re
import subprocess
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from prefine.errors import ConfigError, LedgerError, NonFiniteError
from prefine.ledger import catalogue, provenance
from prefine.ledger import run as running
from prefine.ledger.catalogue import entries, find, outcomes
from prefine.ledger.entry import Bound, Entry
from prefine.ledger.outcome import Outcome, SeedRun, load
from prefine.ledger.page import said, write_page
from prefine.ledger.picture import picture
from prefine.ledger.run import run_entries, run_seed
from prefine.statistics import Stat

ROOT = Path(__file__).resolve().parents[2]
ENTRIES = sorted(entries())
KEPT = {name: outcome for name, outcome in outcomes().items() if outcome is not None}
MEAN_SECONDS, MOST_SECONDS, SUBSET_SECONDS = 45, 240, 90


def stat(low: float, high: float) -> Stat:
    return Stat((low + high) / 2, low, high, n=10, method="made up")


def entry(run: Any = None, **more: Any) -> Entry:
    given: dict[str, Any] = {
        "name": "made_up", "source": "nowhere", "claim": "Less is less.", "world": "A line.",
        "baseline": "None.", "control": "More.", "seeds": 3,
        "bounds": (Bound("distance", "distance", at_most=1.0),),
        "run": run or (lambda seed: {"distance": seed / 10, "distance/control": 5.0 + seed}),
    }  # fmt: skip
    return Entry(**{**given, **more})


def outcome_of(made: Entry, **metrics: list[float]) -> Outcome:
    seeds = range(len(next(iter(metrics.values()))))
    runs = [
        SeedRun(s, {name.replace("__", "/"): values[s] for name, values in metrics.items()}, 1.0)
        for s in seeds
    ]
    return Outcome(made, runs, {"date": "2026-01-01", "torch": "2"})


# --- What counts as proof ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bound", "low", "high", "holds", "fails"),
    [
        ({"at_most": 1.0}, 0.0, 1.0, True, False),
        ({"at_most": 1.0}, 0.5, 1.1, False, False),
        ({"at_most": 1.0}, 1.1, 2.0, False, True),
        ({"at_least": 1.0}, 1.0, 2.0, True, False),
        ({"at_least": 1.0}, 0.0, 0.9, False, True),
        ({"at_least": 0.0, "at_most": 1.0}, 0.2, 0.8, True, False),
        ({"at_least": 0.0, "at_most": 1.0}, -2.0, -1.0, False, True),
    ],
)
def test_a_bound_holds_inside_and_fails_outside(
    bound: dict[str, float], low: float, high: float, holds: bool, fails: bool
) -> None:
    made = Bound("x", "x", **bound)
    assert made.holds(stat(low, high)) is holds
    assert made.fails(stat(low, high)) is fails


def test_a_claim_is_reproduced_only_if_its_control_fails() -> None:
    made = entry()
    good = outcome_of(made, distance=[0.1, 0.2, 0.1], distance__control=[5.0, 6.0, 5.0])
    assert (good.status, said(good.verdicts[0])) == ("reproduced", "holds, control fails")
    idle = outcome_of(made, distance=[0.1, 0.2, 0.1], distance__control=[0.1, 0.2, 0.2])
    assert idle.status == "not reproduced"
    assert said(idle.verdicts[0]) == "holds, but so may the control"
    missed = outcome_of(made, distance=[3.0, 3.1, 3.0], distance__control=[5.0, 6.0, 5.0])
    assert (missed.status, said(missed.verdicts[0])) == ("not reproduced", "missed")
    wide = outcome_of(made, distance=[0.0, 1.2, 0.9], distance__control=[5.0, 6.0, 5.0])
    assert said(wide.verdicts[0]) == "open: the interval crosses the bound"


def test_some_bounds_make_it_partly() -> None:
    bounds = (
        Bound("distance", "distance", at_most=1.0),
        Bound("quality", "quality", at_least=0.5, control=False),
    )
    made = entry(bounds=bounds)
    numbers = {"distance": [0.1, 0.2, 0.1], "distance__control": [5.0, 6.0, 5.0]}
    assert outcome_of(made, **numbers, quality=[0.6, 0.61, 0.6]).status == "reproduced"
    assert outcome_of(made, **numbers, quality=[0.1, 0.2, 0.1]).status == "partly"


def test_what_cannot_fail_is_refused() -> None:
    with pytest.raises(ConfigError, match="open"):
        Bound("x", "x")
    with pytest.raises(ConfigError, match="no bound with a control"):
        entry(bounds=(Bound("x", "x", at_most=1.0, control=False),))


# --- Running -------------------------------------------------------------------------------------


def test_a_measure_that_is_missing_or_not_finite_is_named() -> None:
    with pytest.raises(LedgerError, match="did not return distance/control"):
        run_seed(entry(lambda seed: {"distance": 0.0}), 0)
    with pytest.raises(NonFiniteError, match="seed 7: distance/control = nan"):
        run_seed(entry(lambda seed: {"distance": 0.0, "distance/control": math.nan}), 7)


def test_seeds_that_were_run_are_not_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFINE_CACHE", str(tmp_path))
    ran: list[int] = []

    def run(seed: int) -> dict[str, float]:
        ran.append(seed)
        return {"distance": 0.5, "distance/control": 2.0}

    made = entry(run)
    monkeypatch.setattr(running, "find", lambda _: made)
    for _ in range(2):
        running._kept_seed("made_up", 4, "code", False)
    assert ran == [4]
    running._kept_seed("made_up", 4, "code", True)
    running._kept_seed("made_up", 4, "other code", False)
    moved = replace(made, bounds=(Bound("distance", "distance", at_most=2.0),))
    monkeypatch.setattr(running, "find", lambda _: moved)
    running._kept_seed("made_up", 4, "code", False)
    assert ran == [4, 4, 4, 4], "asked for, other code, another bound"


def test_entries_run_in_processes_and_come_out_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFINE_CACHE", str(tmp_path))
    seen: list[tuple[str, int]] = []
    chosen = [find("dpo"), find("gamma_dpo")]
    made = list(
        run_entries(chosen, jobs=2, seeds=2, on_seed=lambda e, run: seen.append((e.name, run.seed)))
    )
    assert sorted(seen) == [("dpo", 0), ("dpo", 1), ("gamma_dpo", 0), ("gamma_dpo", 1)]
    assert sorted(outcome.entry.name for outcome in made) == ["dpo", "gamma_dpo"]
    assert [run.seed for run in made[0].runs] == [0, 1]
    assert made[0].made["sources"].keys() >= {"ledger/worlds/tabular.py"}


def test_results_are_recorded_only_of_what_is_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    said_by_git: dict[str, str | None] = {"status": "", "rev-parse": "abc"}
    monkeypatch.setattr(provenance, "git", lambda verb, *_: said_by_git[verb])
    assert provenance.commit() == "abc"
    said_by_git["status"] = " M src/prefine/ledger/worlds/tabular.py"
    with pytest.raises(LedgerError, match=r"worlds/tabular\.py\nCommit them"):
        provenance.commit()
    said_by_git["status"] = None
    with pytest.raises(LedgerError, match="from a git checkout"):
        provenance.commit()


def test_a_moved_bound_loses_its_result(tmp_path: Path) -> None:
    made = entry()
    outcome_of(made, distance=[0.1, 0.2], distance__control=[5.0, 6.0]).save(tmp_path)
    kept = load(made, tmp_path)
    assert kept is not None
    assert kept.runs[1].metrics["distance"] == 0.2
    moved = replace(made, bounds=(Bound("distance", "distance", at_most=1.01),))
    assert load(moved, tmp_path) is None
    assert load(replace(made, tried="Everything."), tmp_path) is not None


def test_a_page_shows_every_claim(tmp_path: Path) -> None:
    made = entry(numbers=("#7",), tried="More of it.")
    found = outcome_of(made, distance=[3.0, 3.1, 3.0], distance__control=[5.0, 6.0, 5.0])
    page = write_page({"made_up": found}, {"made_up": made}, tmp_path).read_text(encoding="utf-8")
    assert "1 entries: 1 not reproduced." in page
    assert "| [`made_up`](#ledger-made_up) | #7 | not reproduced |" in page
    assert "**Tried.** More of it." in page
    drawn = (tmp_path / "ledger" / "made_up.svg").read_text(encoding="utf-8")
    assert drawn.startswith('<svg style="background: #fff; ')
    assert "asked for at most 1" in picture(found).alt
    write_page({"made_up": None}, {"made_up": made}, tmp_path)
    assert not (tmp_path / "ledger" / "made_up.svg").exists(), "no result, no picture"


# --- The entries ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ENTRIES)
def test_an_entry_declares_all_that_a_reader_needs(name: str) -> None:
    made = entries()[name]
    for text in (made.source, made.claim, made.world, made.baseline, made.control):
        assert text.endswith(".")
    assert all(re.fullmatch(r"#\d{1,3}", number) for number in made.numbers)
    assert made.seeds >= 5
    assert provenance.sources(made).keys() >= {f"ledger/worlds/{w}.py" for w in made.worlds}


def test_names_and_numbers_find_an_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find("length-regularised-dpo").name == "length_regularised_dpo"
    assert find("#68") is find("68") is find("robust_em")
    with pytest.raises(ConfigError, match=r"no entry dpoo .* Did you mean `dpo`"):
        find("dpoo")
    both = {name: replace(entry(), name=name, numbers=("#7",)) for name in ("one", "two")}
    monkeypatch.setattr(catalogue, "entries", lambda: both)
    with pytest.raises(ConfigError, match="7 has several entries: one, two"):
        find("7")


# --- What is kept --------------------------------------------------------------------------------


def test_every_entry_has_its_result_and_every_result_its_entry() -> None:
    assert sorted(KEPT) == ENTRIES, "run `prefine ledger run NAME --record` for those without"
    assert sorted(path.stem for path in provenance.RESULTS.glob("*.json")) == ENTRIES


@pytest.mark.parametrize("name", sorted(KEPT))
def test_a_kept_result_is_of_all_declared_seeds(name: str) -> None:
    kept = KEPT[name]
    assert [run.seed for run in kept.runs] == list(range(kept.entry.seeds))
    told = json.loads((provenance.RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    assert told["status"] == kept.status
    assert told["figures"] == {key: value.to_json() for key, value in kept.figures.items()}
    assert kept.status == "reproduced" or kept.entry.tried, "say what was tried"


def test_no_entry_takes_longer_than_promised() -> None:
    seconds = [kept.seconds for kept in KEPT.values()]
    assert max(seconds) <= MOST_SECONDS
    assert sum(seconds) / len(seconds) <= MEAN_SECONDS


@pytest.mark.parametrize("name", sorted(KEPT))
def test_bounds_were_committed_before_the_result(name: str) -> None:
    """The commit that a result names is in the history, with the very sources that made it."""
    made = KEPT[name].made
    if provenance.git("cat-file", "-e", f"{made['commit']}^{{commit}}") is None:
        pytest.skip("the history is not here: a shallow clone, or no clone at all")
    assert provenance.git("merge-base", "--is-ancestor", made["commit"], "HEAD") is not None
    for path, hashed in made["sources"].items():
        source = subprocess.run(
            ["git", "show", f"{made['commit']}:src/prefine/{path}"],
            cwd=ROOT, capture_output=True, check=True,
        ).stdout  # fmt: skip
        assert provenance.short_hash(source) == hashed, f"{path} was changed before the run"


def test_the_page_is_of_these_results(tmp_path: Path) -> None:
    made = write_page(outcomes(), entries(), tmp_path).read_text(encoding="utf-8")
    page = (ROOT / "docs" / "ledger.md").read_text(encoding="utf-8")
    assert page == made, "run `prefine ledger table`"
    pictures = {path.stem for path in (ROOT / "docs" / "ledger").glob("*.svg")}
    assert pictures == set(KEPT)


def todays() -> list[str]:
    """Entries whose first seeds fit into the time for them, another stretch of them every day."""
    names = sorted(KEPT)
    start = date.today().toordinal() * 7 % max(1, len(names))
    chosen, left = [], float(SUBSET_SECONDS)
    for name in names[start:] + names[:start]:
        left -= KEPT[name].runs[0].seconds
        if left < 0:
            break
        chosen.append(name)
    return chosen


def test_todays_entries_come_out_as_they_did() -> None:
    """A seed run again lands among the seeds that are kept: exactly here, nearly elsewhere."""
    for name in todays():
        kept = KEPT[name]
        again = run_seed(kept.entry, kept.runs[0].seed).metrics
        for measure, value in again.items():
            values = [run.metrics[measure] for run in kept.runs]
            room = 0.25 * (max(values) - min(values)) + 1e-4
            assert min(values) - room <= value <= max(values) + room, f"{name}: {measure}"
