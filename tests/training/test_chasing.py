"""Two sets of adapters in a run: the steps of `recipes.chase`, on any layout, and resumed."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainingArguments

from prefine.adapters import CausalLM, bind
from prefine.errors import ConfigError, ObjectiveError
from prefine.objectives import dpo
from prefine.recipes import chase
from prefine.scores import ItemScores, Needs, Scores, Term
from prefine.training.blocks import ChaseConfig
from prefine.training.chasing import ChasingTrainer, Roles
from prefine.training.config import RunConfig
from prefine.training.reference import AdapterOff
from prefine.training.rows import EncodedRows
from prefine.training.run import train
from prefine.training.terms import term_rows
from prefine.training.twin import ADAPTERS, add_twin, sides_of

Rows = Callable[..., list[dict[str, Any]]]
Make = Callable[..., ChasingTrainer]
Configure = Callable[..., RunConfig]

CHASE = ChaseConfig(ratio=0.5, alpha=0.4, beta=0.3, every=2)
RATE = 0.3
"""So large that the fast side overshoots and the slow one overtakes it."""


@pytest.fixture
def two_sided(tiny_llama: Callable[..., Any]) -> Callable[[], Any]:
    """Return `make()`: a float64 model with two sets of adapters, the same every time."""
    from peft import LoraConfig, get_peft_model

    def make() -> Any:
        torch.manual_seed(0)
        base = tiny_llama(initializer_range=0.1).double()
        lora = LoraConfig(r=2, lora_alpha=4, target_modules=["q_proj", "v_proj", "down_proj"])
        return add_twin(get_peft_model(base, lora))

    return make


@pytest.fixture
def chasing_trainer(
    two_sided: Callable[[], Any], tiny_tokenizer: Any, token_rows: Rows, tmp_path: Path
) -> Make:
    """Return `make(**arguments)`: a trainer over eight rows of unequal weight, in order."""

    def make(**more: Any) -> ChasingTrainer:
        rows = more.pop("rows", None) or token_rows(
            8, weight=[1.0, 2.0, 0.5, 1.5, 1.0, 3.0, 0.2, 1]
        )
        model = more.pop("model", None) or two_sided()
        adapter = CausalLM(tiny_tokenizer, layout=more.pop("layout", "padded"))
        names = ("on_step", "token_budget", "offload", "optimizer_cls_and_kwargs")
        own = {name: more.pop(name) for name in names if name in more}
        own["objective"] = more.pop("objective", partial(dpo, beta=0.5))
        own["chase"] = more.pop("chase", CHASE)
        values = {
            "per_device_train_batch_size": 4, "max_steps": 6, "learning_rate": RATE,
            "lr_scheduler_type": "constant", "report_to": "none", "disable_tqdm": True,
            "use_cpu": True, "save_strategy": "no", "logging_steps": 1, "seed": 0,
            "train_sampling_strategy": "sequential", "optim": "adamw_torch",
            "max_grad_norm": 0.0, "weight_decay": 0.1, **more,
        }  # fmt: skip
        return ChasingTrainer(
            model, adapter=adapter, reference=AdapterOff(model, "base"),
            args=TrainingArguments(str(tmp_path / "checkpoints"), **values),
            train_dataset=EncodedRows(lambda _: rows, len(rows)), **own,
        )  # fmt: skip

    return make


def copied(sides: Sequence[Sequence[torch.Tensor]]) -> list[list[torch.Tensor]]:
    return [[p.detach().clone() for p in part] for part in sides]


def assert_equal(one: Any, two: Any, *, rtol: float, atol: float) -> None:
    for first, second in zip(one, two, strict=True):
        for a, b in zip(first, second, strict=True):
            torch.testing.assert_close(a, b, rtol=rtol, atol=atol)


def test_a_run_takes_the_steps_of_the_recipe(
    chasing_trainer: Make, two_sided: Callable[[], Any], token_rows: Rows, tiny_tokenizer: Any
) -> None:
    rows: list[dict[str, Any]] = []
    made = chasing_trainer(on_step=rows.append, max_steps=9)
    start = copied(made.sides)
    made.train()
    model, adapter = two_sided(), CausalLM(tiny_tokenizer)
    bind(model, adapter)
    data = token_rows(8, weight=[1.0, 2.0, 0.5, 1.5, 1.0, 3.0, 0.2, 1])
    halves = [adapter.collate([{**row, "absent": False} for row in part])
              for part in (data[:4], data[4:])]  # fmt: skip
    seen: list[tuple[int, Scores]] = []

    def score(side: int, batch: Any) -> Scores:
        with model.disable_adapter(), torch.no_grad():
            reference: ItemScores = model(batch=batch, needs=Needs())
        model.set_adapter(ADAPTERS[side])
        found = term_rows(batch, Term("dpo", dpo, ()), model(batch=batch, needs=Needs()), reference)
        values = found.policy.detach()
        seen.append((side, replace(found, policy=values)))
        return found

    found = chase(
        score, sides_of(model), [halves[n % 2] for n in range(9)],
        rate=RATE, loss=partial(dpo, beta=0.5), ratio=0.5, alpha=0.4, beta=0.3, every=2,
        optimizer=partial(torch.optim.AdamW, weight_decay=0.1),
    )  # fmt: skip
    assert found.swaps, "or the exchange of roles was not compared"
    assert made.roles.swaps == list(found.swaps)
    assert made.roles.fast == found.fast
    assert_equal(copied(made.sides), copied(sides_of(model)), rtol=1e-9, atol=1e-11)
    ends = copied(made.sides)
    moved = max(float((a - b).abs().max()) for a, b in zip(start[1], ends[1], strict=True))
    assert moved > 0.1
    fast = [0 if len([s for s in found.swaps if s <= n]) % 2 == 0 else 1 for n in range(9)]
    for n, row in enumerate(rows):
        pair = seen[2 * n][1], seen[2 * n + 1][1]
        weight = pair[0].weight
        assert weight is not None
        own = [float((weight * dpo(s, beta=0.5)).sum() / weight.sum()) for s in pair]
        gaps = [s.policy[:, 0] - s.policy[:, 1] for s in pair]
        lead = (gaps[fast[n]] - gaps[1 - fast[n]]) * weight
        assert row["loss"] == pytest.approx(own[fast[n]], rel=1e-9)
        assert row["chase/slow_loss"] == pytest.approx(own[1 - fast[n]], rel=1e-9)
        assert row["chase/lead"] == pytest.approx(float(lead.sum() / weight.sum()), abs=1e-9)
        assert row["chase/swaps"] == sum(step <= n + 1 for step in found.swaps)
        assert row["learning_rate"] == RATE


@pytest.mark.parametrize(
    "more",
    [
        {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 4},
        {"token_budget": 24},
        {"layout": "packed"},
        {"activation_checkpointing": True},
        {"offload": True},
    ],
    ids=lambda more: next(iter(more)),
)
def test_how_a_batch_is_computed_changes_nothing(chasing_trainer: Make, more: Any) -> None:
    more = {"optim": "sgd", **more}
    whole, other = chasing_trainer(optim="sgd"), chasing_trainer(**more)
    for made in (whole, other):
        made.train()
    assert whole.roles.swaps == other.roles.swaps != []
    # Rotary positions are float32 whatever the weights are, and packed rows have others.
    assert_equal(copied(whole.sides), copied(other.sides), rtol=1e-5, atol=1e-8)


def test_each_side_is_clipped_by_itself(chasing_trainer: Make) -> None:
    """Clipped together, the longer gradient of one would shorten the other's."""
    norms: list[list[float]] = []

    class Watched(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            norms.append(
                [float(torch.stack([p.grad.norm() for p in group["params"]]).norm())
                 for group in self.param_groups]
            )  # fmt: skip
            return super().step(closure)

    def ran(most: float) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        how = (Watched, {"lr": 1e-3})
        chasing_trainer(
            max_grad_norm=most, max_steps=1, on_step=rows.append, optimizer_cls_and_kwargs=how
        ).train()
        return rows

    (free,), (cut,) = ran(0.0), ran(1e-3)
    assert norms[1] == pytest.approx([1e-3, 1e-3], rel=1e-3)
    assert min(norms[0]) > 1e-3
    whole = sum(norm**2 for norm in norms[0]) ** 0.5
    assert free["grad_norm"] == pytest.approx(whole) == cut["grad_norm"]


@pytest.mark.parametrize("schedule", ["linear", "constant"])
def test_a_schedule_moves_both_rates(chasing_trainer: Make, schedule: str) -> None:
    rates: list[list[float]] = []

    class Watched(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            rates.append([group["lr"] for group in self.param_groups])
            return super().step(closure)

    how = (Watched, {"lr": 0.4})
    chase = ChaseConfig(ratio=0.25, every=10**6)
    made = chasing_trainer(
        lr_scheduler_type=schedule, learning_rate=0.4, max_steps=4, chase=chase,
        optimizer_cls_and_kwargs=how,
    )  # fmt: skip
    made.train()
    expected = [0.4, 0.3, 0.2, 0.1] if schedule == "linear" else [0.4] * 4
    assert [fast for fast, _ in rates] == pytest.approx(expected)
    assert [slow for _, slow in rates] == pytest.approx([rate / 4 for rate in expected])


def test_roles_count_in_spells() -> None:
    """Spell of two: means 0.65 and 0.66, then 0.5 and 0.4, then 0.3 and 0.3: one exchange."""
    roles = Roles(2)
    losses = [(0.7, 0.7), (0.6, 0.62), (0.5, 0.4), (0.5, 0.4), (0.3, 0.3), (0.3, 0.3)]
    for step, pair in enumerate(losses, 1):
        if step == 4:  # a run that is taken up again in the middle of a spell
            again = Roles(2)
            again.load_state_dict(json.loads(json.dumps(roles.state_dict())))
            roles = again
        roles.see(torch.tensor(pair, dtype=torch.float64), step)
    assert (roles.fast, roles.swaps) == (1, [4])


def test_held_out_rows_are_scored_by_the_fast_side(chasing_trainer: Make, token_rows: Rows) -> None:
    made = chasing_trainer(max_steps=2)
    made.train()
    rows = token_rows(3)
    held_out = EncodedRows(lambda _: rows, len(rows))
    found = {}
    for made.roles.fast in (0, 1):
        found[made.roles.fast] = made.evaluate(held_out)["eval_loss"]
        made._use(made.roles.fast)
        batch = made.adapter.collate([{**row, "absent": False} for row in rows])
        with torch.no_grad():
            scores = term_rows(batch, made.terms[0], *made.scores(made.policy, batch))
        assert found[made.roles.fast] == pytest.approx(float(dpo(scores, beta=0.5).mean()))
    assert found[0] != found[1]


def test_what_is_kept_is_the_fast_side(chasing_trainer: Make) -> None:
    made = chasing_trainer(max_steps=2)
    made.train()
    made.roles.fast = 1
    _, fast = copied(made.sides)
    assert made.keep_fast() == {"swaps": made.roles.swaps, "fast": 1}
    model: Any = made.model
    assert list(model.peft_config) == ["default"]
    kept = [p.detach() for name, p in model.named_parameters() if ".default." in name]
    assert_equal([kept], [fast], rtol=0, atol=0)


def test_going_back_takes_both_sides_and_their_roles(chasing_trainer: Make, tmp_path: Path) -> None:
    made = chasing_trainer(save_strategy="steps", save_steps=3, max_steps=3)
    made.train()
    sides, roles = copied(made.sides), made.roles.state_dict()
    assert roles["steps"] == 1, "in the middle of a spell"
    with torch.no_grad():
        for parameter in (*made.sides[0], *made.sides[1]):
            parameter.add_(1.0)
    made.roles.load_state_dict({"fast": 1, "swaps": [1], "sums": [0.0, 0.0], "steps": 0})
    made.go_back(tmp_path / "checkpoints" / "checkpoint-3")
    assert_equal(copied(made.sides), sides, rtol=0, atol=0)
    assert made.roles.state_dict() == roles


# -------------------------------------------------------------------- whole runs

RUN: dict[str, Any] = {
    "chase": {"ratio": 0.5, "every": 2},
    "lora": {"r": 2},
    "training": {
        "learning_rate": 0.3, "save_strategy": "steps", "save_steps": 3, "save_total_limit": 9,
        "max_steps": 9, "per_device_train_batch_size": 4, "eval_strategy": "steps", "eval_steps": 4,
        "lr_scheduler_type": "constant",
    },
}  # fmt: skip


def test_a_resumed_run_is_the_unbroken_one(configure: Configure, tmp_path: Path) -> None:
    whole = configure("ofs_dpo", **RUN)
    done = train(whole, quiet=True)
    shutil.copytree(tmp_path / "run", tmp_path / "cut")
    for name in ("checkpoints/checkpoint-9", "checkpoints/checkpoint-6", "model", "summary.json"):
        path = tmp_path / "cut" / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    again = train(whole.model_copy(update={"out": str(tmp_path / "cut")}), resume=True, quiet=True)
    assert done.summary["chase"] == again.summary["chase"]
    assert done.summary["chase"]["swaps"], "or nothing was exchanged"
    assert done.summary["metrics"] == again.summary["metrics"]
    last = "checkpoints/checkpoint-9"
    for name in ("adapter_model.safetensors", "twin/adapter_model.safetensors"):
        one, two = (load_file(tmp_path / run / last / name) for run in ("run", "cut"))
        assert all(torch.equal(one[key], two[key]) for key in one), name
    for name in (f"{last}/objective_state.json", "metrics.jsonl"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "cut" / name).read_bytes()


def test_a_run_leaves_ordinary_adapters(configure: Configure) -> None:
    done = train(configure("ofs_dpo", **RUN), quiet=True)
    folder = done.folder / "model"
    assert not (folder / "twin").exists()
    fast = done.summary["chase"]["fast"]
    checkpoint = done.folder / "checkpoints" / "checkpoint-9"
    kept = load_file(folder / "adapter_model.safetensors")
    trained = load_file((checkpoint, checkpoint / "twin")[fast] / "adapter_model.safetensors")
    assert kept.keys() == trained.keys()
    assert all(torch.equal(kept[name], trained[name]) for name in kept)
    assert done.summary["formula"].endswith("(slow)")
    assert "(fast);" in done.summary["formula"]
    assert done.summary["trainable"] == 2 * sum(value.numel() for value in kept.values())


@pytest.mark.parametrize(
    ("objective", "more", "why"),
    [
        ("dpo", {"lora": None}, "Add `lora`"),
        ("reward", {}, "reward models"),
        ("aot", {}, "compares the rows of a step"),
        ("dpo", {"mixing": {"toward": "x", "by": "y"}}, "mixing weighs sources"),
        ("dpo", {"reference_update": {}}, "reference_update moves"),
        ("dpo", {"rationale": {}}, "rationale adds a term"),
        ("dpo", {"degrees": {}}, "degrees adds a term"),
        ("dpo", {"rows": {"instructions": {"intra": 1.0}}}, "adds rows that are no plain pairs"),
        ("dpo", {"rows": {"ties": "keep"}}, "nobody can lead"),
        ("dpo", {"training": {"optim": "lomo"}}, "inside the backward pass"),
        ("dpo", {"training": {"load_best_model_at_end": True}}, "which of the two was fast"),
    ],
)
def test_what_knows_one_policy_is_refused(
    configure: Configure, objective: str, more: dict[str, Any], why: str
) -> None:
    config = configure(objective, **{"chase": {}, "lora": {"r": 2}, **more})
    with pytest.raises(ConfigError, match=why):
        train(config, quiet=True)


@pytest.mark.parametrize(
    ("objective", "why"), [("sft", "takes a pair loss"), ("robust_em", "robust_em")]
)
def test_objectives_without_a_chase(configure: Configure, objective: str, why: str) -> None:
    with pytest.raises(ObjectiveError, match=why):
        train(configure(objective, chase={}, lora={"r": 2}), quiet=True)


def test_one_process_alone(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="on one process"):
        train(configure("ofs_dpo"), quiet=True)


def test_a_model_without_a_twin(tiny_llama: Callable[..., Any]) -> None:
    with pytest.raises(ConfigError, match="has 0 and 0 parameters"):
        sides_of(tiny_llama())


@pytest.mark.parametrize(
    ("chase", "why"),
    [({"ratio": 0}, "chase.ratio"), ({"alpha": 1.0}, "chase.alpha"), ({"every": 0}, "chase.every"),
     ({"speed": 1}, r"chase\.speed: there is no such key")],
)  # fmt: skip
def test_options_out_of_range(configure: Configure, chase: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        configure("ofs_dpo", chase=chase)
