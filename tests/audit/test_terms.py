"""Objectives of several terms: rules read the preference term, by the names that it logs."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from prefine.audit.curves import HELD_OUT, Curves
from prefine.audit.diagnosis import examine

Make = Callable[..., Curves]

WHOLE = {"step", "epoch", "learning_rate", "grad_norm"}
"""What is logged once, whatever the terms."""


def of_terms(curves: Curves, name: str = "dpo", others: dict[str, float] | None = None) -> Curves:
    """The same run with a second term, `sft`, and terms like `name` of other weights."""
    rows: list[dict[str, Any]] = []
    rng = np.random.default_rng(0)
    for row in curves.rows:
        split = HELD_OUT if any(key.startswith(HELD_OUT) for key in row) else ""
        made = {key: value for key, value in row.items() if key in WHOLE}
        own = {key.removeprefix(split): row[key] for key in row.keys() - WHOLE}
        for term, loss in {name: own.get("loss", 0.0), **(others or {})}.items():
            seen = own if term == name else {"rewards/margins": 0.0}
            made |= {f"{split}{term}/{key}": value for key, value in seen.items()}
            made[f"{split}{term}/loss"] = loss + (0 if term == name else 0.1 * rng.random())
        made |= {f"{split}sft/loss": (sft := 3 + rng.random()), f"{split}sft/logps/mean_token": -3}
        made[f"{split}loss"] = made[f"{split}{name}/loss"] + 0.2 * sft
        made[f"{split}loss"] += sum(0.5 * made[f"{split}{term}/loss"] for term in others or {})
        rows.append(made)
    return Curves(rows, curves.config, curves.header, curves.summary, curves.held_out)


UNSEEN = {
    20: {"eval_rewards/accuracies": 0.70, "eval_loss": 0.62},
    40: {"eval_rewards/accuracies": 0.73, "eval_loss": 0.58},
}


@pytest.mark.parametrize(
    "shapes",
    [
        {},
        {"loss": lambda t: 2.0 if 0.3 < t < 0.6 else 0.6},
        {"log_ratio/chosen": lambda t: -8.0 * t},
        {"rewards/accuracies": lambda t: 0.52},
        {"kl_reference": lambda t: 5.0},
    ],
    ids=["healthy", "unstable", "displaced", "noisy", "another reference"],
)
def test_a_second_term_changes_no_diagnosis(run: Make, shapes: dict[str, Any]):
    alone = run(shapes=shapes, held_out=UNSEEN)
    one, two = examine(alone), examine(of_terms(alone))
    assert [f.name for f in two.findings] == [f.name for f in one.findings]
    assert (two.checked, two.unchecked) == (one.checked, one.unchecked)
    assert (one.terms, two.terms) == ((), ("dpo",))
    assert bool(one.findings) is bool(shapes)


def test_evidence_carries_the_name_that_was_logged(run: Make):
    found = examine(of_terms(run(shapes={"loss": lambda t: 0.69 if t == 0 else 3.0})))
    shown = [str(evidence) for evidence in found.findings[0].evidence]
    assert any(line.startswith("dpo/loss at step 1: ") for line in shown)
    assert not any("sft" in line for line in shown)
    assert found.to_json()["terms"] == ["dpo"]


def test_a_held_out_metric_is_that_of_the_term(run: Make):
    curves = of_terms(run(held_out=UNSEEN))
    assert curves.logged_as("eval_loss") == "eval_dpo/loss"
    assert curves.get("eval_loss").values.tolist() == [0.62, 0.58]
    assert curves.get("eval_rewards/accuracies").name == "eval_dpo/rewards/accuracies"
    assert curves.logged_as("grad_norm") == "grad_norm"


def test_of_two_preference_terms_the_weightier_is_read(run: Make):
    """By its weight in the loss, not by the alphabet; the other one is named."""
    curves = of_terms(run(), name="response", others={"contrast": 0.7})
    assert curves.terms == ("response", "contrast")
    assert curves.get("rewards/margins").values[-1] == pytest.approx(0.35, rel=0.02)


def test_terms_on_single_responses_are_found_by_their_rewards(run: Make):
    gone = ("rewards/margins", "log_ratio/chosen", "log_ratio/rejected", "logps/chosen")
    alone = run(without=(*gone, "logps/rejected"))
    curves = of_terms(alone, name="kto")
    assert curves.terms == ("kto",)
    assert curves.margin().values == pytest.approx(alone.margin().values)


def test_an_objective_of_one_term_has_no_terms(run: Make):
    curves = run()
    assert curves.terms == ()
    assert curves.logged_as("loss") == "loss"
    assert Curves([{"step": 1, "loss": 0.7}]).terms == ()
