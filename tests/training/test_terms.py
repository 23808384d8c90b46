"""Rows of a term: what is unknown stays unknown."""

from typing import Any

import pytest
import torch

from prefine.adapters.layout import lay_out
from prefine.audit.curves import Curves
from prefine.errors import ObjectiveError
from prefine.objectives import dpo, kto, sft, simpo
from prefine.scores import ItemScores, Term
from prefine.training.terms import term_rows, total_weights


def batch(label: list[float | None], weight: list[float]) -> dict[str, Any]:
    """Single responses; None is a label that nobody gave."""
    rows = [
        {
            "record": "r", "roles": ["response"], "prompt": [[4]], "response": [[5]],
            "mask": [[1]], "label": [given], "weight": heavy,
        }
        for given, heavy in zip(label, weight, strict=True)
    ]  # fmt: skip
    return lay_out(rows, pad=0)


def scores(count: int) -> ItemScores:
    return ItemScores(torch.zeros(count, dtype=torch.float64), torch.ones(count))


def test_a_row_that_nobody_judged_is_not_undesirable() -> None:
    term = Term("kto", kto(), ())
    with pytest.raises(ObjectiveError, match="kto needs a `label` for every row, but 1 of a batch"):
        term_rows(batch([1.0, None], [1.0, 1.0]), term, scores(2), scores(2))
    filled = term_rows(batch([1.0, None], [1.0, 0.0]), term, scores(2), scores(2))
    assert filled.label is not None, "a row that only fills the batch needs none"
    other = term_rows(batch([None, None], [1.0, 1.0]), Term("dpo", dpo, ()), scores(2), None)
    assert other.label is None


def test_a_term_weighs_the_rows_that_have_its_roles() -> None:
    made = batch([1.0, 0.0, 1.0], [1.0, 2.0, 4.0])
    made["roles"] = {"mismatched": torch.tensor([0, -1, 2])}
    terms = [Term("all", dpo, ()), Term("some", dpo, ("mismatched",)), Term("none", dpo, ("x",))]
    assert total_weights([made, made], terms).tolist() == [14.0, 10.0, 0.0]


def test_what_two_terms_log_is_read_by_the_diagnosis(trainer: Any) -> None:
    """The names are the trainer's own: whoever changes them changes what `diagnose` looks for."""
    seen: list[dict[str, Any]] = []
    terms = [
        Term("pairs", simpo, ("chosen", "rejected")),
        Term("likelihood", sft, ("chosen",), 0.5),
        Term("turned", simpo, ("rejected", "chosen"), 0.25),
    ]
    trainer(terms, on_step=seen.append, max_steps=6).train()
    curves = Curves(seen)
    assert curves.terms == ("pairs", "turned")
    assert curves.get("rewards/margins").name == "pairs/rewards/margins"
    assert len(curves.get("loss")) == 6
    assert curves.logged_as("grad_norm") == "grad_norm"
