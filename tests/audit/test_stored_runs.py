"""Curves of real runs that were made to be ill, and of healthy ones: what is said of them.

The runs are those of `benchmarks/diagnose.py` on worlds 0 and 10, on which rules were made (of long
ones every third step); how well the rules do on other worlds stands in docs/results/diagnose.json.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prefine.audit.curves import Curves
from prefine.audit.diagnosis import examine
from prefine.audit.rules import RULES

STORED: dict[str, Any] = json.loads(
    Path(__file__).with_name("runs.json").read_text(encoding="utf-8")
)


def curves_of(stored: dict[str, Any]) -> Curves:
    columns: dict[str, list[float | None]] = stored["curves"]
    rows = [
        {name: values[at] for name, values in columns.items() if values[at] is not None}
        for at in range(len(columns["step"]))
    ]
    length = stored.get("length")
    held_out = None if length is None else [{"length": [length], "roles": ["response"]}]
    summary = {"metrics": stored["metrics"]}
    return Curves(rows, stored["config"], stored["header"], summary, held_out)


@pytest.mark.parametrize("name", STORED)
def test_a_real_run_is_called_by_its_illness(name: str):
    stored = STORED[name]
    found = examine(curves_of(stored))
    named = [finding.name for finding in found.findings]
    assert named[:1] == ([stored["illness"]] if stored["illness"] else [])
    for finding in found.findings:
        assert finding.evidence, "every finding shows numbers"
        json.dumps(finding.to_json(), allow_nan=False)


def test_every_illness_has_a_run():
    assert {stored["illness"] for stored in STORED.values()} == {"", *(r.__name__ for r in RULES)}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_run_without_its_rule_is_not_called_so(
    rule: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
):
    """The name comes from the rule, not from another that would have said the same."""
    monkeypatch.setattr("prefine.audit.diagnosis.RULES", tuple(r for r in RULES if r is not rule))
    own = [stored for stored in STORED.values() if stored["illness"] == rule.__name__]
    for stored in own:
        named = [finding.name for finding in examine(curves_of(stored)).findings]
        assert rule.__name__ not in named
