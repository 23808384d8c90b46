"""prefine's side of a case: the trainer that `prefine train` runs, on the same rows."""

import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from prefine.bench import pace, world


def main() -> None:
    """Train as the case says, a step a turn."""
    begin = time.perf_counter()
    given = json.loads(sys.argv[1])
    case, steps, folder = given["case"], given["steps"], Path(given["folder"])
    if case["tuned"]:
        from prefine.engine.tune import tune

        tune()
    import torch

    torch.set_num_threads(given["threads"])
    import prefine
    from prefine.training.trainer import PreferenceTrainer

    imported, base = time.perf_counter() - begin, pace.memory("VmRSS")
    groups = world.make_groups(case, steps)
    begin = time.perf_counter()
    options = make_trainer(case, steps, folder, groups)
    trainer = PreferenceTrainer(**options)
    prepared = time.perf_counter() - begin
    facts = {
        "version": prefine.__version__, "imported": imported, "prepared": prepared, "base": base,
        "parameters": sum(p.numel() for p in options["model"].parameters()),
        "layout": trainer.adapter.layout,  # type: ignore[attr-defined]
        "trained": sum(p.numel() for p in options["model"].parameters() if p.requires_grad),
        "response_tokens": sum(len(r) for _, responses in groups for r in responses) / steps,
    }  # fmt: skip
    paced = pace.Paced(facts, folder / "prefine.safetensors")
    trainer.add_callback(paced)
    pace.watch_loss(trainer, paced)
    trainer.train()


def make_trainer(case: Any, steps: int, folder: Path, groups: list[world.Group]) -> dict[str, Any]:
    """Return what the trainer is made of."""
    from transformers import TrainingArguments

    from prefine.adapters import CausalLM, SequenceReward
    from prefine.engine import choose_layout
    from prefine.objectives import bradley_terry, dpo
    from prefine.objectives.combine import over_pairs
    from prefine.training.rows import EncodedRows

    reward = case["task"] == "reward"
    tokenizer, model = world.make_tokenizer(case), world.make_model(case)
    adapter: Any = SequenceReward(tokenizer) if reward else CausalLM(tokenizer)
    if case["lora"]:
        from peft import get_peft_model

        model = get_peft_model(model, world.lora_config())
        world.start_adapters(model)
    adapter = replace(adapter, layout=choose_layout(model, reward).layout)
    rows = [encoded(n, group) for n, group in enumerate(groups)]
    data = EncodedRows(lambda _: rows, len(rows))
    reference = None if reward else make_reference(case, model, adapter, rows, folder, data)
    loss = bradley_terry if reward else dpo
    shared = world.training_arguments(case, steps, folder / "prefine")
    args = TrainingArguments(
        **shared, per_device_train_batch_size=case["prompts"], train_sampling_strategy="sequential"
    )
    return {
        "model": model, "adapter": adapter, "args": args, "train_dataset": data,
        "objective": over_pairs(loss) if case["responses"] > 2 else loss, "reference": reference,
    }  # fmt: skip


def make_reference(case: Any, model: Any, adapter: Any, rows: Any, folder: Path, data: Any) -> Any:
    """Return the reference of the case; cached scores are computed here, before any step."""
    from prefine.engine import ReferenceCache, choose_layout
    from prefine.training.reference import AdapterOff, CachedReference, Identity, ModuleReference

    if case["reference"] == "separate" and case["lora"]:
        return AdapterOff(model, "policy")
    if case["reference"] == "separate":
        twin = world.make_model(case)
        choose_layout(twin)
        return ModuleReference(twin, adapter, "policy", is_initial_policy=True)
    identity = Identity("cached", "policy", "bench", True)
    cached = CachedReference(ReferenceCache(folder / "reference", "bench", {}), identity)
    cached.fill(rows, model, adapter, batch_size=case["prompts"])
    model.train()
    data.reference = cached.lookup
    return cached


def encoded(number: int, group: world.Group) -> dict[str, Any]:
    """A row as the text adapters lay it out."""
    prompt, responses = group
    roles = ["chosen", "rejected"] if len(responses) == 2 else None
    return {
        "record": str(number),
        "roles": roles or [f"response_{k}" for k in range(len(responses))],
        "prompt": [prompt] * len(responses),
        "response": responses,
        "mask": [[1] * len(response) for response in responses],
    }


if __name__ == "__main__":
    main()
