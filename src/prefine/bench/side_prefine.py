"""prefine's side of a case: the trainer that `prefine train` runs, or its scoring, on the rows."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefine.adapters import CausalLM, SequenceReward
from prefine.bench import pace, world
from prefine.bench.shares import Profile
from prefine.engine.layout import pack
from prefine.protocols import Batch


def main() -> None:
    """Work as the case says, a step a turn."""
    given, turns = pace.begin(Profile())
    from prefine.training.trainer import PreferenceTrainer

    _ = PreferenceTrainer
    began = {"imported": pace.age(), "base": turns.meter.held()}
    pace.run(turns, lambda: work(turns, began, **given))


def work(
    turns: pace.Turns, began: dict[str, Any], case: Any, steps: int, folder: str, **_: Any
) -> None:
    """Prepare, say so, and do the steps."""
    from prefine.bench.costs import costs

    groups = world.make_groups(case, steps)
    tokenizer, model = world.make_tokenizer(case), make_model(case)
    begin = time.perf_counter()
    adapter = make_adapter(case, tokenizer, model)
    rows = adapter.prepare(view_of(groups, case)).dataset
    check_tokens(rows, groups)
    facts = {
        **began,
        "parameters": sum(p.numel() for p in model.parameters()),
        "trained": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "owned": world.owned_bytes(case, model),
        "layout": adapter.layout,
        "first": case["steps"],
        **costs(case, model, groups, steps),
    }
    if case["task"] == "score":
        score(turns, facts, case, model, adapter, rows)
    else:
        train(turns, facts, case, model, adapter, rows, Path(folder), steps, begin)


def train(
    turns: pace.Turns, facts: dict[str, Any], case: Any, model: Any, adapter: Any, rows: Any,
    folder: Path, steps: int, begin: float,
) -> None:  # fmt: skip
    """Train with the trainer of `prefine train`."""
    from transformers import TrainingArguments

    from prefine.training.rows import EncodedRows
    from prefine.training.trainer import PreferenceTrainer

    data = EncodedRows(lambda _: rows, len(rows))
    shared = world.training_arguments(case, steps, folder / case["side"])
    trainer = PreferenceTrainer(
        model,
        adapter=adapter,
        objective=make_objective(case),
        reference=make_reference(case, model, adapter, rows, folder, data),
        train_dataset=data,
        args=TrainingArguments(
            **shared,
            per_device_train_batch_size=case["prompts"],
            train_sampling_strategy="sequential",
        ),
    )
    facts["prepared"] = time.perf_counter() - begin
    paced = pace.Paced(turns, facts, folder / f"{case['side']}.safetensors")
    trainer.add_callback(paced)
    pace.watch_loss(trainer, paced)
    trainer.train()


def score(
    turns: pace.Turns, facts: dict[str, Any], case: Any, model: Any, adapter: Any, rows: Any
) -> None:
    """Score the prompts of a step at once, without gradient."""
    from prefine.adapters import bind
    from prefine.models.score import score_batch

    bind(model.eval(), adapter)
    turns.ready(facts)
    for start in range(0, len(rows), case["prompts"]):
        found = score_batch(rows[start : start + case["prompts"]], model, adapter)
        turns.done({"scores": [value for row in found for value in row]})


def make_model(case: Any) -> Any:
    """Return the model of the case, with its adapters."""
    model = world.make_model(case)
    if case["lora"]:
        from peft import get_peft_model

        model = get_peft_model(model, world.lora_config())
        world.start_adapters(model)
    return model


@dataclass(frozen=True)
class Unshared(CausalLM):
    """The same packed row, but for every prompt's being repeated before each of its responses."""

    def collate(self, rows: Sequence[Mapping[str, Any]]) -> Batch:
        """Lay the items of B encoded rows out as one batch."""
        parts = [
            part
            for row in rows
            for part in zip(row["prompt"], row["response"], row["mask"], strict=True)
        ]
        return {**super().collate(rows), "items": pack(parts, share=False)}


def make_adapter(case: Any, tokenizer: Any, model: Any) -> Any:
    """Return the adapter of the case with the layout that `prefine train` would choose."""
    if case["task"] == "reward":
        kind: Any = SequenceReward
    else:
        kind = Unshared if case["side"] == "unshared" else CausalLM
    return kind(tokenizer, max_length=None).fitted(model)


def make_objective(case: Any) -> Any:
    """Return the objective of the case."""
    from prefine.objectives import bradley_terry, dpo, sft
    from prefine.objectives.combine import over_pairs

    loss: Any = {"dpo": dpo, "reward": bradley_terry, "sft": sft}[case["task"]]
    return over_pairs(loss) if case["responses"] > 2 else loss


def make_reference(case: Any, model: Any, adapter: Any, rows: Any, folder: Path, data: Any) -> Any:
    """Return the reference of the case; cached scores are computed here, before any step."""
    from prefine.engine import ReferenceCache, choose_layout
    from prefine.training.reference import AdapterOff, CachedReference, Identity, ModuleReference

    if case["task"] != "dpo":
        return None
    if case["reference"] == "separate" and case["lora"]:
        return AdapterOff(model, "policy")
    if case["reference"] == "separate":
        twin = world.make_model(case)
        choose_layout(twin)
        return ModuleReference(twin, adapter, "policy", is_initial_policy=True)
    identity = Identity("cached", "policy", "bench", True)
    cached = CachedReference(
        ReferenceCache(folder / f"reference-{case['side']}", "bench", {}), identity
    )
    cached.fill(rows, model, adapter, batch_size=case["prompts"])
    model.train()
    data.reference = cached.lookup
    return cached


def view_of(groups: Sequence[world.Group], case: Any) -> Any:
    """Return the texts of a case as the view that `prefine train` encodes."""
    from prefine.records.table import view_schema, write_table
    from prefine.records.views import View

    count = case["responses"]
    roles = ["chosen", "rejected"] if count == 2 else [f"response_{k}" for k in range(count)]
    roles = ["response"] if count == 1 else roles
    empty = dict.fromkeys(view_schema().names)

    def message(role: str, text: str) -> dict[str, str]:
        return {"role": role, "content": text}

    def row(number: int, group: world.Group) -> dict[str, Any]:
        prompt, responses = group
        start = {
            "messages": [message("user", world.to_text(prompt))],
            "tools": None,
            "form": "text",
        }
        said = [message("assistant", " " + world.to_text(response)) for response in responses]
        return empty | {
            "record": str(number), "cluster": str(number), "tie": False, "weight": 1.0,
            "prompts": [json.dumps(start)], "aspect": "overall", "rater": -1, "principal": -1,
            "responses": [json.dumps([turn]) for turn in said],
            "items": [{"prompt": 0, "response": k, "role": role} for k, role in enumerate(roles)],
        }  # fmt: skip

    rows = write_table((row(n, group) for n, group in enumerate(groups)), view_schema())
    return View("lists" if count > 2 else "pairs", rows, (), (), {}, {})  # type: ignore[arg-type]


def check_tokens(rows: Any, groups: Sequence[world.Group]) -> None:
    """Stop unless prefine trains on exactly the tokens of the case."""
    for row, (prompt, responses) in zip(rows, groups, strict=True):
        found = [[list(map(int, ids)) for ids in row[name]] for name in ("prompt", "response")]
        if found != [[prompt] * len(responses), responses]:
            raise SystemExit("prefine's tokens are not those of the case")


if __name__ == "__main__":
    main()
