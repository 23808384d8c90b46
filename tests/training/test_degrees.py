"""Damaged versions beside pairs, a head that is thrown away, and runs that are broken off."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from prefine.adapters.bind import HEAD
from prefine.errors import ConfigError, ObjectiveError, RecordError, RunFolderError
from prefine.objectives.degrees import degree_cross_entropy
from prefine.runs import RunFolder
from prefine.scores import ItemScores, Scores
from prefine.training.config import RunConfig, parse
from prefine.training.degree_head import WEIGHTS, DegreeHead, attach_head, head_on
from prefine.training.degrees import Versions
from prefine.training.metrics import finish, metric_sums
from prefine.training.plan import prepare
from prefine.training.run import train
from prefine.training.terms import term_rows

THINGS = ("tea", "wind", "coal", "rope", "milk", "salt", "iron", "wool")


@pytest.fixture(scope="module")
def home(
    tmp_path_factory: pytest.TempPathFactory, tiny_llama: Callable[..., Any], tiny_tokenizer: Any
) -> Path:
    """A model and 24 pairs; each sixth has too few key words."""
    folder = tmp_path_factory.mktemp("degrees")
    tiny_llama(initializer_range=0.1).save_pretrained(folder / "model")
    tiny_tokenizer.save_pretrained(folder / "model")

    def said(n: int, other: int) -> str:
        first, second = (THINGS[(n * k + other) % 8] for k in (3, 5))
        return "the of is" if n % 6 == 5 else f"the {first} of the {second} is"

    rows = [
        {"prompt": f"{n} is ", "chosen": said(n, 0) + "!", "rejected": said(n, 1)}
        for n in range(24)
    ]
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return folder


def config(home: Path, out: Path, **more: Any) -> RunConfig:
    training = {
        "use_cpu": True, "max_steps": 6, "per_device_train_batch_size": 6, "learning_rate": 1e-2,
        "lr_scheduler_type": "constant", "save_strategy": "steps", "save_steps": 2,
        "save_total_limit": 9, "eval_strategy": "no", "logging_steps": 1,
        **more.pop("training", {}),
    }  # fmt: skip
    given = {"steps": 2, "learning_rate": 0.05}
    degrees = more.pop("degrees", {})
    return parse({
        "objective": "dpo", "model": str(home / "model"), "data": str(home / "pairs.jsonl"),
        "out": str(out), "holdout": 0, "training": training,
        "degrees": None if degrees is None else {**given, **degrees}, **more,
    })  # fmt: skip


def steps_of(out: Path) -> list[dict[str, Any]]:
    rows = map(json.loads, (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    return [row for row in rows if "loss" in row]


# --- rows ---------------------------------------------------------------------------------------


def plan_of(config: RunConfig) -> Any:
    return prepare(config, RunFolder(config.out), quiet=True)


def test_degrees_are_new_in_every_epoch_and_the_seed_decides(home: Path, tmp_path: Path) -> None:
    rows = plan_of(config(home, tmp_path)).data.train

    def drawn(epoch: int, rows: Any = rows) -> list[list[int]]:
        return [rows[epoch, at, True]["degree"] for at in range(len(rows))]

    again = plan_of(config(home, tmp_path)).data.train
    other = plan_of(config(home, tmp_path, seed=1)).data.train
    assert drawn(0) == drawn(0, again) != drawn(1) == drawn(1, again)
    assert drawn(0) != drawn(0, other)
    found = [degree for epoch in range(30) for row in drawn(epoch) for degree in row[2:]]
    shares = np.bincount(found) / len(found)
    assert shares == pytest.approx([1 / 3] * 3, abs=0.05), "the whole response, too, is a class"
    assert all(row[:2] == [-1, -1] for row in drawn(0))


def test_a_version_lacks_what_its_degree_says(home: Path, tmp_path: Path) -> None:
    plan = plan_of(config(home, tmp_path))
    seen, without = set[int](), 0
    for epoch in range(4):
        for at in range(len(plan.data.train)):
            row = plan.data.train[epoch, at, True]
            if len(row["roles"]) == 2:
                without += epoch == 0
                assert row["degree"] == [-1, -1]
                continue
            assert row["roles"] == ["chosen", "rejected", "damaged_chosen", "damaged_rejected"]
            for own, k in ((0, 2), (1, 3)):
                text, whole = (plan.tokenizer.decode(row["response"][i]) for i in (k, own))
                assert text.count("...") == row["degree"][k], "two key words, two steps"
                assert len(text.split()) == len(whole.split())
                assert row["prompt"][k].tolist() == row["prompt"][own].tolist()
                seen.add(row["degree"][k])
    assert seen == {0, 1, 2}
    assert without == 4
    assert any("4 of 24 pairs have a response with fewer than 2" in n for n in plan.data.notes)
    assert "damaged_chosen" in plan.data.sample


def test_a_reference_is_asked_of_the_pair_alone(home: Path, tmp_path: Path) -> None:
    rows = plan_of(config(home, tmp_path)).data.train
    rows.reference = lambda row: [float(len(row["roles"]))] * len(row["roles"])
    assert rows.alone(0)["roles"] == ["chosen", "rejected"]
    found = rows[0]["reference"]
    assert found[:2] == [2.0, 2.0]
    assert all(math.isnan(value) for value in found[2:])


def test_the_items_of_a_batch_say_their_degree(home: Path, tmp_path: Path) -> None:
    plan = plan_of(config(home, tmp_path))
    rows = [plan.data.train[at] for at in range(6)]
    batch = plan.adapter.collate(rows)
    assert batch["degree"].tolist() == [degree for row in rows for degree in row["degree"]]
    assert batch["index"].shape == (6, 2), "a pair is compared, not its versions"
    plain = plan.adapter.collate([plan.data.train.alone(at) for at in range(6)])
    assert "degree" not in plain
    preference, degrees = plan.terms
    items = ItemScores(torch.zeros(len(batch["units"])), batch["units"].float())
    read = term_rows(batch, degrees, items, None)
    expected = [row["degree"][2:] or [0, 0] for row in rows]  # what is absent is masked
    assert read.columns["degree"].tolist() == expected
    assert read.weight is not None
    assert read.weight.tolist() == [float(len(row["roles"]) > 2) for row in rows]
    assert "degree" not in term_rows(batch, preference, items, None).columns


def test_without_versions_a_row_is_as_it_was() -> None:
    row = {"at": 3, "seed": 1, "roles": ["chosen", "rejected"]}
    assert Versions([], [], 3)(row) == {**row, "degree": [-1, -1]}


# --- the head -----------------------------------------------------------------------------------


def test_the_head_is_in_no_state_of_the_model(tiny_llama: Callable[..., Any]) -> None:
    model = tiny_llama()
    names = set(model.state_dict())
    head = attach_head(model, 4, 1e-3)
    assert head_on(model) is head
    assert set(model.state_dict()) == names
    assert {f"{HEAD}.weight", f"{HEAD}.bias"} <= {name for name, _ in model.named_parameters()}
    missing = model.load_state_dict(model.state_dict())
    assert not missing.missing_keys
    assert head_on(tiny_llama()) is None


def test_it_computes_wide_whatever_the_model_does() -> None:
    head = DegreeHead(4, 2, learning_rate=1e-3)
    with torch.autocast("cpu", torch.bfloat16):
        found = head(torch.ones(3, 4, dtype=torch.bfloat16))
    assert found.dtype == torch.float32
    assert found.tolist() == [[0.0, 0.0]] * 3
    wide = DegreeHead(4, 2, learning_rate=1e-3, dtype=torch.float64)
    assert wide(torch.ones(3, 4, dtype=torch.float64)).dtype == torch.float64


def test_its_weights_are_kept(tmp_path: Path) -> None:
    head, again = (DegreeHead(4, 2, learning_rate=1e-3) for _ in range(2))
    nn.init.normal_(head.weight)
    head.save(tmp_path)
    again.load(tmp_path)
    assert again.weight.equal(head.weight)
    (tmp_path / WEIGHTS).unlink()
    with pytest.raises(RunFolderError, match="holds no head of degrees"):
        again.load(tmp_path)


def test_it_has_a_rate_of_its_own() -> None:
    model: Any = nn.Linear(3, 3)
    model.config = SimpleNamespace(hidden_size=3)
    model.config.get_text_config = lambda: model.config
    head = attach_head(model, 2, 0.5)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, weight_decay=0.1)
    for _ in range(2):  # asking twice changes nothing
        head.take_own_rate(optimizer)
    rates = [(len(g["params"]), g["lr"], g["weight_decay"]) for g in optimizer.param_groups]
    assert rates == [(2, 1e-6, 0.1), (2, 0.5, 0.0)]


def test_accuracy_counts_what_is_there() -> None:
    logits = torch.tensor([[[1.0, 0.0], [1.0, 0.0]], [[0.0, 1.0], [0.0, 1.0]]])
    scores = Scores(
        torch.zeros(2, 2), torch.ones(2, 2), vector=logits, weight=torch.tensor([1.0, 3.0]),
        valid=torch.tensor([[True, True], [True, False]]),
        columns={"degree": torch.tensor([[0, 1], [1, 0]])},
    )  # fmt: skip
    loss = degree_cross_entropy(scores, weight=1.0)
    found = finish(metric_sums(scores, loss, beta=1.0, unit="nats"))
    assert found.keys() == {"loss", "accuracy"}
    assert found["accuracy"] == pytest.approx((1 * 0.5 + 3 * 1.0) / 4)


# --- runs ---------------------------------------------------------------------------------------


def test_a_run_starts_where_dpo_does_and_saves_no_head(home: Path, tmp_path: Path) -> None:
    train(config(home, tmp_path / "spo"), quiet=True)
    train(config(home, tmp_path / "dpo", degrees=None), quiet=True)
    ours, theirs = (steps_of(tmp_path / name) for name in ("spo", "dpo"))
    assert ours[0]["degrees/loss"] == pytest.approx(0.1 * math.log(3), abs=1e-6)
    assert ours[0]["preference/loss"] == pytest.approx(theirs[0]["loss"], abs=1e-6)
    assert ours[0]["preference/logps/chosen"] == pytest.approx(theirs[0]["logps/chosen"])
    assert ours[1]["preference/loss"] == pytest.approx(theirs[1]["loss"], rel=1e-3), (
        "a head at 0 has no gradient for the policy, and a small one of its own"
    )
    kept, start = (
        load_file(folder / "model" / "model.safetensors") for folder in (tmp_path / "spo", home)
    )
    assert kept.keys() == start.keys()
    assert not (tmp_path / "spo" / "model" / WEIGHTS).exists()
    moved = load_file(tmp_path / "dpo" / "model" / "model.safetensors")
    assert any(not kept[name].equal(moved[name]) for name in kept), "the trunk hears of degrees"
    head = load_file(tmp_path / "spo" / "checkpoints" / "checkpoint-6" / WEIGHTS)
    assert head["weight"].abs().max() > 0.05, "it learns at its own rate"


def test_reasons_and_degrees_stand_side_by_side(home: Path, tmp_path: Path) -> None:
    """Three terms: each is what it is by itself, and the loss is their sum."""
    rows = map(json.loads, (home / "pairs.jsonl").read_text(encoding="utf-8").splitlines())
    rows = [{**row, "rationale": f"it has {n}"} for n, row in enumerate(rows)]
    data = tmp_path / "reasons.jsonl"
    data.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    reasons = {"gamma": 0.5}
    runs: dict[str, dict[str, Any]] = {
        "both": {"rationale": reasons}, "degrees": {},
        "reasons": {"rationale": reasons, "degrees": None},
    }  # fmt: skip
    for name, more in runs.items():
        train(config(home, tmp_path / name, data=str(data), holdout=0.25, **more), quiet=True)
    both, degrees, why = (steps_of(tmp_path / name)[0] for name in runs)
    assert both["degrees/loss"] == pytest.approx(0.1 * math.log(3), abs=1e-6)
    assert both["preference/loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert both["rationale/loss"] == pytest.approx(why["rationale/loss"], abs=1e-5)
    for name in ("accuracy", "loss"):
        assert both[f"degrees/{name}"] == pytest.approx(degrees[f"degrees/{name}"], abs=1e-6)
    for row in steps_of(tmp_path / "both"):
        terms = sum(row[f"{name}/loss"] for name in ("preference", "rationale", "degrees"))
        assert row["loss"] == pytest.approx(terms, abs=1e-5)
    lines = (tmp_path / "both" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    for row in [row for row in map(json.loads, lines) if "eval_loss" in row]:
        terms = sum(row[f"eval_{name}/loss"] for name in ("preference", "rationale", "degrees"))
        assert row["eval_loss"] == pytest.approx(terms, abs=1e-5)


def test_what_is_held_out_is_what_dpo_holds_out(home: Path, tmp_path: Path) -> None:
    """So that runs with and without the term are compared row by row."""
    kept: list[list[dict[str, Any]]] = []
    for name, degrees in (("spo", {}), ("dpo", None)):
        more: dict[str, Any] = {"holdout": 0.4, "degrees": degrees}
        train(config(home, tmp_path / name, **more), quiet=True)
        kept.append(RunFolder(tmp_path / name).held_out() or [])
    ours, theirs = kept
    for name in ("record", "text", "roles", "reference", "length"):
        assert [row[name] for row in ours] == [row[name] for row in theirs]
    assert all(len(row["scores"]) == 2 for row in ours)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"lora": {"r": 2}, "reference": "adapter_off"},
        {"reference_update": {"every": 3, "mix": 0.5}},
    ],
)
def test_a_resumed_run_is_the_unbroken_one(
    more: dict[str, Any], home: Path, tmp_path: Path
) -> None:
    whole = config(home, tmp_path / "whole", **more)
    train(whole, quiet=True)
    part = whole.model_copy(update={"out": str(tmp_path / "part")})
    train(part, quiet=True)
    for name in ("checkpoint-4", "checkpoint-6"):  # as if it had been killed in the fourth step
        for file in (tmp_path / "part" / "checkpoints" / name).iterdir():
            file.unlink()
        (tmp_path / "part" / "checkpoints" / name).rmdir()
    assert (tmp_path / "part" / "checkpoints" / "checkpoint-2" / WEIGHTS).is_file()
    train(part, resume=True, quiet=True)
    assert steps_of(tmp_path / "part") == steps_of(tmp_path / "whole")
    file = "adapter_model.safetensors" if "lora" in more else "model.safetensors"
    for inside in (Path("model") / file, Path("checkpoints") / "checkpoint-6" / WEIGHTS):
        one, two = (load_file(tmp_path / name / inside) for name in ("whole", "part"))
        assert one.keys() == two.keys()
        assert all(one[name].equal(two[name]) for name in one), inside
    assert not any(HEAD in name for name in load_file(tmp_path / "whole" / "model" / file))


@pytest.mark.parametrize(
    "more",
    [
        {"objective": "simpo"},
        {"objective": "aot"},
        {"layout": "padded", "training": {"activation_checkpointing": True}},
        {"rows": {"instructions": {"intra": 1.0}}},
        {"degrees": {"keys": "random", "filler": "_"}, "holdout": 0.3},
    ],
)
def test_other_pair_objectives_and_layouts(
    more: dict[str, Any], home: Path, tmp_path: Path
) -> None:
    given = {"max_steps": 2, "save_strategy": "no", **more.pop("training", {})}
    train(config(home, tmp_path / "run", training=given, **more), quiet=True)
    first, second = steps_of(tmp_path / "run")
    assert first["degrees/loss"] == pytest.approx(0.1 * math.log(3), abs=1e-6)
    assert math.isfinite(second["loss"])
    assert second["degrees/loss"] != first["degrees/loss"]


def test_the_batch_is_cut_as_one_likes(home: Path, tmp_path: Path) -> None:
    """Rows without versions have no part in the denominator, wherever they fall."""
    for name, each in (("whole", 6), ("cut", 1)):
        training = {
            "per_device_train_batch_size": each, "gradient_accumulation_steps": 6 // each,
            "max_steps": 3, "save_strategy": "no",
        }  # fmt: skip
        more = {"dtype": "float64", "token_budget": 60 if name == "cut" else None}
        train(config(home, tmp_path / name, training=training, **more), quiet=True)
    one, two = (steps_of(tmp_path / name) for name in ("whole", "cut"))
    for whole, cut in zip(one, two, strict=True):
        for key in whole.keys() - {"epoch"}:
            assert whole[key] == pytest.approx(cut[key], rel=1e-9, abs=1e-9), key


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"objective": "kto"}, "degrees: versions are made of a pair"),
        ({"objective": "reward"}, "degrees: versions are made of a pair"),
        ({"objective": "margin_dpo"}, "degrees: versions are made of a pair"),
        ({"mixing": {"toward": "a.jsonl", "by": "domain"}}, "degrees and mixing"),
        ({"degrees": {"filler": " "}}, "degrees.filler"),
        ({"degrees": {"steps": 0}}, "degrees.steps"),
        ({"degrees": {"warmup": 1}}, "degrees.warmup: there is no such key"),
    ],
)
def test_what_cannot_work_is_refused(
    home: Path, tmp_path: Path, more: dict[str, Any], why: str
) -> None:
    with pytest.raises(ConfigError, match=why):
        train(config(home, tmp_path / "run", **more), quiet=True)


@pytest.mark.parametrize("name", ["ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED"])
def test_sharded_weights_are_refused(
    name: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "true")
    with pytest.raises(ConfigError, match="lost where weights are sharded"):
        train(config(home, tmp_path / "run"), quiet=True)


def test_data_without_key_words_is_refused(home: Path, tmp_path: Path) -> None:
    rows = [{"prompt": f"{n} is ", "chosen": "yes", "rejected": "no"} for n in range(8)]
    (tmp_path / "short.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    with pytest.raises(RecordError, match="None of 8 pairs has 2 or more key words in both"):
        train(config(home, tmp_path / "run", data=str(tmp_path / "short.jsonl")), quiet=True)


def test_a_vector_is_not_asked_of_what_gives_none(
    trainer: Callable[..., Any], tiny_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prefine.adapters.CausalLM.has_vector", False)
    with pytest.raises(ObjectiveError, match="reads a vector output, which this adapter has not"):
        trainer(degree_cross_entropy)
