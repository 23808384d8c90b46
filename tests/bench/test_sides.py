"""What a side is made of, without processes of its own."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from prefine.adapters import bind
from prefine.bench import pace, side_padded, side_prefine, world
from prefine.bench.cases import Case
from prefine.bench.costs import costs
from prefine.bench.gemm import rates
from prefine.models.score import score_batch

CASE = replace(Case(preset="tiny", prompt=8, response=5, responses=3, tuned=False), prompts=2)


def fields(case: Case, side: str = "prefine") -> dict[str, Any]:
    other = {"reference": case.reference, "checkpointing": case.checkpointing}
    return {**case.to_json(), "side": side, "other": other}


def scored(case: dict[str, Any]) -> list[float]:
    groups, model = world.make_groups(case, 1), world.make_model(case)
    adapter = side_prefine.make_adapter(case, world.make_tokenizer(case), model)
    rows = adapter.prepare(side_prefine.view_of(groups, case)).dataset
    side_prefine.check_tokens(rows, groups)
    bind(model.eval(), adapter)
    found = score_batch([rows[n] for n in range(len(rows))], model, adapter)
    return [value for row in found for value in row]


def test_unshared_and_padded_sides_score_what_prefine_scores() -> None:
    case = fields(CASE)
    shared = scored(case)
    assert len(shared) == 6
    assert scored(fields(CASE, "unshared")) == pytest.approx(shared, rel=1e-5)
    padded = side_padded.score(world.make_model(case).eval(), world.make_groups(case, 1))
    assert padded == pytest.approx(shared, rel=1e-5)


def test_unshared_rows_are_as_long_as_they_are_counted() -> None:
    case = fields(replace(CASE, against="unshared"), "unshared")
    groups, model = world.make_groups(case, 2), world.make_model(case)
    adapter = side_prefine.make_adapter(case, world.make_tokenizer(case), model)
    rows = adapter.prepare(side_prefine.view_of(groups, case)).dataset
    tokens = [adapter.collate([rows[n] for n in at])["items"].tokens for at in ((0, 1), (2, 3))]
    assert costs(case, model, groups, 2)["their_tokens"] == tokens


def test_other_tokens_stop_a_side() -> None:
    case = fields(CASE)
    groups = world.make_groups(case, 1)
    adapter = side_prefine.make_adapter(case, world.make_tokenizer(case), world.make_model(case))
    rows = adapter.prepare(side_prefine.view_of(groups, case)).dataset
    groups[0][1][0][0] += 1
    with pytest.raises(SystemExit, match="not those of the case"):
        side_prefine.check_tokens(rows, groups)


@pytest.mark.parametrize(
    "case",
    [
        CASE,
        replace(CASE, reference="separate", checkpointing=True),
        replace(CASE, lora=True),
        replace(CASE, task="score", against="padded"),
        replace(CASE, task="sft", responses=1),
    ],
)
def test_the_products_are_the_flops(case: Case) -> None:
    """By shape or by part of the model: the same FLOPs of each step."""
    given = fields(case)
    found = costs(given, side_prefine.make_model(given), world.make_groups(given, 2), 2)
    for step, flops in enumerate(found["flops"]):
        assert sum(each[step] for _, each in found["products"]) == pytest.approx(flops)
        assert found["necessary_flops"][step] <= flops < found["their_flops"][step]
    rows = found["response_tokens"][0]
    head = [each[0] for shape, each in found["products"] if shape[3:] == (16, 64)]
    assert head == pytest.approx([2.0 * rows * 16 * 64] * len(head))


def test_what_the_other_side_does_by_default_costs_more() -> None:
    plain = fields(CASE)
    shipped = {**plain, "other": {"reference": "separate", "checkpointing": True}}
    model, groups = world.make_model(plain), world.make_groups(plain, 1)
    one, other = (costs(case, model, groups, 1)["their_flops"][0] for case in (plain, shipped))
    assert 1.45 < other / one < 1.8  # of 6 parts, 2 more for the reference and 2 for checkpointing


@pytest.mark.parametrize("kind", ["forward", "input", "weight"])
def test_rates_are_positive_for_every_kind_of_product(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prefine.bench.gemm.SPAN", 0.0)
    ((wall, busy),) = rates([[kind, 2, 3, 4, 5]], "cpu", torch.float32)
    assert wall > 0
    assert busy > 0


class Turns:
    """Stands in for a side's turns."""

    def __init__(self) -> None:
        self.told = False

    def does_not_fit(self) -> None:
        self.told = True


def test_memory_that_does_not_suffice_is_told() -> None:
    def work() -> None:
        raise torch.OutOfMemoryError

    turns: Any = Turns()
    pace.run(turns, work)
    assert turns.told


def test_the_age_of_a_process_grows() -> None:
    assert 0 < pace.age() <= pace.age()


def test_large_gradients_are_compared_at_evenly_chosen_entries() -> None:
    assert pace._some(torch.arange(10.0), 4).tolist() == [0, 3, 6, 9]
    assert pace._some(torch.arange(4.0), 4).tolist() == [0, 1, 2, 3]
