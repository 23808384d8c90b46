"""Rows weigh by their source, weights follow gradients, and a run says and resumes both."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from prefine.adapters import CausalLM
from prefine.errors import ConfigError, RecordError
from prefine.estimators import GradientMixing
from prefine.objectives import simpo
from prefine.objectives.declare import spec
from prefine.records import load
from prefine.training.blocks import MixingConfig
from prefine.training.config import RunConfig
from prefine.training.mixing import Mixing, Sources, refuse_mixing
from prefine.training.resampling import SourceDraws
from prefine.training.rows import EncodedRows
from prefine.training.run import train
from prefine.training.trainer import PreferenceTrainer

Make = Callable[..., PreferenceTrainer]
Rows = Callable[..., list[dict[str, Any]]]
Configure = Callable[..., RunConfig]


def encoded(rows: list[dict[str, Any]]) -> EncodedRows:
    return EncodedRows(lambda _: rows, len(rows))


def sources_of(rows: list[dict[str, Any]], target: list[dict[str, Any]]) -> Sources:
    """The first row is one source, the others are the second."""
    names = [str(row["record"]) for row in rows]
    of_record = {name: int(at > 0) for at, name in enumerate(names)}
    rest = tuple(range(1, len(rows)))
    return Sources(("one", "rest"), ((0,), rest), of_record, encoded(target))


def test_a_step_is_the_mean_of_the_mixture(trainer: Make, token_rows: Rows) -> None:
    """Weights 0.7 and 0.3 of sources that hold 1 and 3 of 4 rows: 2.8 a row, and 0.4."""
    rows = token_rows(4)
    mixing = Mixing(sources_of(rows, rows), MixingConfig(toward="t", by="b", every=10**9))
    mixing.state.weights = torch.tensor([0.7, 0.3])
    made = trainer(simpo, rows=rows, mixing=mixing)
    made.state.global_step = 1
    (part,) = [made.adapter.collate([{**row, "absent": False} for row in rows])]
    before = part["rows"]["weight"].clone()
    mixing.before_step(made, [[part]])
    torch.testing.assert_close(
        part["rows"]["weight"], before * torch.tensor([2.8, 0.4, 0.4, 0.4]).double(),
        check_dtype=False,
    )  # fmt: skip


def test_weights_move_by_the_gradients_of_the_model(
    trainer: Make, token_rows: Rows, tiny_llama: Callable[..., Any], tiny_tokenizer: Any
) -> None:
    """Autograd on each source's mean loss by hand, on all of its rows, gives the same weights."""
    rows, target = token_rows(4), token_rows(6)[4:]
    model, twin = (tiny_llama(initializer_range=0.1) for _ in range(2))
    config = MixingConfig(toward="t", by="b", rows=100, eta=3.0, decay=0.0)
    made = trainer(simpo, rows=rows, model=model, mixing=Mixing(sources_of(rows, target), config))
    assert made.mixing is not None
    made.mixing.move(made, 0)
    adapter = CausalLM(tiny_tokenizer)

    def gradient(some: list[dict[str, Any]]) -> torch.Tensor:
        batch = adapter.collate(some)
        items = adapter.score(twin, batch)
        value = (items.value / items.length).view(len(some), 2)
        logit = 2.0 * (value[:, 0] - value[:, 1]) - 1.0  # beta 2, gamma over beta 0.5
        loss = -torch.nn.functional.logsigmoid(logit).mean()
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(twin.parameters()))])

    by_hand = GradientMixing(2, eta=3.0, decay=0.0)
    by_hand.update(torch.stack([gradient(rows[:1]), gradient(rows[1:])]), gradient(target))
    torch.testing.assert_close(made.mixing.state.weights, by_hand.weights, rtol=1e-3, atol=1e-5)
    assert abs(float(by_hand.weights[0]) - 0.5) > 1e-3, "or nothing was shown"
    assert all(p.grad is None for p in model.parameters()), "a probe is no part of a step"


def test_what_compares_rows_is_refused(configure: Configure, tagged: Path, start: Path) -> None:
    mixing = {"toward": str(start / "pairs.jsonl"), "by": "domain"}
    with pytest.raises(ConfigError, match="compares the rows of a step"):
        train(configure("aot", data=str(tagged), mixing=mixing), quiet=True)
    with pytest.raises(ConfigError, match="Start one process"):
        refuse_mixing(spec(simpo), 2)


@pytest.fixture
def tagged(start: Path, tmp_path: Path) -> Path:
    """Records of two domains; one prefers what the target does not."""
    records = load(start / "pairs.jsonl")
    made = tmp_path / "tagged.jsonl"
    lines = []
    for at, record in enumerate(records):
        row = record.to_json()
        row["tags"] = {**row.get("tags", {}), "domain": "kept" if at % 2 else "turned"}
        lines.append(json.dumps(row))
    made.write_text("\n".join(lines), encoding="utf-8")
    return made


def shown(folder: Path) -> list[dict[str, Any]]:
    """The metrics of the steps."""
    lines = (folder / "metrics.jsonl").read_text("utf-8").splitlines()
    return [row for row in map(json.loads, lines) if "mixing/kept" in row]


def test_a_run_mixes_logs_and_resumes(configure: Configure, tagged: Path, start: Path) -> None:
    mixing = {"toward": str(start / "pairs.jsonl"), "by": "domain", "every": 2, "rows": 4}
    training = {"save_strategy": "steps", "save_steps": 2, "per_device_train_batch_size": 4}
    whole = configure("dpo", data=str(tagged), mixing=mixing, training=training)
    done = train(whole, quiet=True)
    rows = shown(done.folder)
    assert len(rows) == done.summary["steps"]
    assert all(row["mixing/kept"] + row["mixing/turned"] == pytest.approx(1.0) for row in rows)
    assert len({row["mixing/kept"] for row in rows}) > 1, "the weights never moved"
    assert done.summary["data"]["mixing"]["target rows"] == 24
    checkpoint = sorted((done.folder / "checkpoints").iterdir())[0]
    (state,) = json.loads((checkpoint / "objective_state.json").read_text("utf-8"))
    assert sum(state["weights"]) == pytest.approx(1.0)


def test_a_resumed_run_goes_on_with_its_weights(
    configure: Configure, tagged: Path, start: Path, tmp_path: Path
) -> None:
    mixing = {"toward": str(start / "pairs.jsonl"), "by": "domain", "every": 3, "rows": 4}
    training = {"save_strategy": "steps", "save_steps": 2, "max_steps": 5, "save_total_limit": 9}
    whole = configure("dpo", data=str(tagged), mixing=mixing, training=training)
    train(whole, quiet=True)
    shutil.copytree(tmp_path / "run", tmp_path / "cut")
    for name in ("checkpoints/checkpoint-5", "checkpoints/checkpoint-4", "model"):
        shutil.rmtree(tmp_path / "cut" / name)
    train(whole.model_copy(update={"out": str(tmp_path / "cut")}), resume=True, quiet=True)
    ends = [shown(tmp_path / name)[-1] for name in ("run", "cut")]
    assert ends[0]["step"] == ends[1]["step"] == 5
    assert ends[0]["mixing/kept"] == pytest.approx(ends[1]["mixing/kept"], abs=1e-9)
    assert ends[0]["loss"] == pytest.approx(ends[1]["loss"], rel=1e-6)


def test_a_reference_that_is_cached_knows_the_target(
    configure: Configure, tagged: Path, start: Path
) -> None:
    mixing = {"toward": str(start / "pairs.jsonl"), "by": "domain", "rows": 4}
    train(configure("dpo", data=str(tagged), mixing=mixing, reference="cached"), quiet=True)


@pytest.mark.parametrize(
    ("by", "message"), [("form", "has no tag 'form'"), ("nothing", "Its tags: .*domain")]
)
def test_records_without_the_tag(
    configure: Configure, tagged: Path, start: Path, by: str, message: str
) -> None:
    mixing = {"toward": str(start / "pairs.jsonl"), "by": by}
    with pytest.raises(RecordError, match=message):
        train(configure("dpo", data=str(tagged), mixing=mixing), quiet=True)


def test_a_single_source_is_none(configure: Configure, tagged: Path, start: Path) -> None:
    text = tagged.read_text("utf-8").replace("turned", "kept")
    tagged.write_text(text, encoding="utf-8")
    mixing = {"toward": str(start / "pairs.jsonl"), "by": "domain"}
    with pytest.raises(RecordError, match="nothing to mix"):
        train(configure("dpo", data=str(tagged), mixing=mixing), quiet=True)


def test_rows_are_drawn_by_source_in_rounds() -> None:
    """A source of 3 rows and one of 5, at 0.9 and 0.1: how often, in which order, and again."""
    draws = SourceDraws([(0, 1, 2), (3, 4, 5, 6, 7)], seed=1)
    shares = torch.tensor([0.9, 0.1])
    drawn = [draws.draw(shares, 10, step=step) for step in range(50)]
    flat = [position for step in drawn for position in step]
    first = [position for position in flat if position < 3]
    assert len(first) / len(flat) == pytest.approx(0.9, abs=0.04)
    rounds = [tuple(first[at : at + 3]) for at in range(0, len(first) - 2, 3)]
    assert all(sorted(each) == [0, 1, 2] for each in rounds)
    assert len(set(rounds)) > 1, "each round has an order of its own"
    assert draws.counts == [len(first), 500 - len(first)]

    again = SourceDraws([(0, 1, 2), (3, 4, 5, 6, 7)], seed=1)
    for step in range(20):
        again.draw(shares, 10, step=step)
    resumed = SourceDraws([(0, 1, 2), (3, 4, 5, 6, 7)], seed=1)
    resumed.load(json.loads(json.dumps(again.counts)))
    assert [resumed.draw(shares, 10, step=step) for step in range(20, 50)] == drawn[20:]
    other = SourceDraws([(0, 1, 2), (3, 4, 5, 6, 7)], seed=2)
    assert other.draw(shares, 10, step=0) != drawn[0]
    with pytest.raises(ConfigError, match="how often each of 2 sources was drawn"):
        resumed.load(None)


def test_a_drawn_step_has_the_rows_of_the_mixture(trainer: Make, token_rows: Rows) -> None:
    """At 1 and 0 every row is the first one; its own weight stays."""
    rows = token_rows(4)
    config = MixingConfig(toward="t", by="b", every=10**9, how="resample")
    mixing = Mixing(sources_of(rows, rows), config)
    mixing.state.weights = torch.tensor([1.0, 0.0])
    made = trainer(simpo, rows=rows, mixing=mixing)
    made.state.global_step = 1
    whole = made.adapter.collate([{**row, "absent": at == 3} for at, row in enumerate(rows)])
    ((part,),) = mixing.before_step(made, [[whole]])
    assert part["records"] == [str(rows[0]["record"])] * 3, "as many as the step has"
    torch.testing.assert_close(part["rows"]["weight"], whole["rows"]["weight"][[0, 0, 0]])


def test_the_trainer_trains_on_what_was_drawn(trainer: Make, token_rows: Rows) -> None:
    rows = token_rows(4)
    config = MixingConfig(toward="t", by="b", every=10**9, how="resample")
    mixing = Mixing(sources_of(rows, rows), config)
    mixing.state.weights = torch.tensor([1.0, 0.0])
    made = trainer(simpo, rows=rows, mixing=mixing)
    made.state.global_step = 1
    epoch = iter(made.get_train_dataloader())
    batches, _ = made.get_batch_samples(epoch, 1, torch.device("cpu"))
    assert made._ahead is not None
    made._ahead[1].close()
    records = [record for batch in batches for part in batch for record in part["records"]]
    assert set(records) == {str(rows[0]["record"])}


def test_a_resampled_run_counts_and_resumes_bit_for_bit(
    configure: Configure, tagged: Path, start: Path, tmp_path: Path
) -> None:
    mixing = {"toward": str(start / "pairs.jsonl"), "by": "domain", "every": 3, "rows": 4}
    mixing |= {"how": "resample", "eta": 50.0}
    training = {"save_strategy": "steps", "save_steps": 2, "max_steps": 5, "save_total_limit": 9,
                "per_device_train_batch_size": 4}  # fmt: skip
    whole = configure("dpo", data=str(tagged), mixing=mixing, training=training)
    done = train(whole, quiet=True)
    drawn = done.summary["drawn"]
    assert sum(each["draws"] for each in drawn.values()) == 5 * 4
    assert sum(each["rows"] for each in drawn.values()) == done.summary["rows"]["train"]
    shutil.copytree(tmp_path / "run", tmp_path / "cut")
    for name in ("checkpoints/checkpoint-5", "checkpoints/checkpoint-4", "model"):
        shutil.rmtree(tmp_path / "cut" / name)
    cut = whole.model_copy(update={"out": str(tmp_path / "cut")})
    assert train(cut, resume=True, quiet=True).summary["drawn"] == drawn
    weights = [(tmp_path / run / "model" / "model.safetensors").read_bytes()
               for run in ("run", "cut")]  # fmt: skip
    assert weights[0] == weights[1]
