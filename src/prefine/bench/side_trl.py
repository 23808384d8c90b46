"""TRL's side of a case. Run as a script by a Python that has TRL: nothing here is prefine's."""

import logging
import sys
import time
import warnings
from itertools import combinations
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import pace  # pyright: ignore[reportMissingImports]
import world  # pyright: ignore[reportMissingImports]


def main() -> None:
    """Train as the case says, a step a turn."""
    given, turns = pace.begin()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    import trl

    for name in ("DPOTrainer", "RewardTrainer", "SFTTrainer"):
        getattr(trl, name)  # imported where it is asked for
    began = {"version": trl.__version__, "imported": pace.age(), "base": turns.meter.held()}
    pace.run(turns, lambda: work(turns, began, trl, **given))


def work(
    turns: Any, began: dict[str, Any], trl: Any, case: Any, steps: int, folder: str, **_: Any
) -> None:
    """Prepare, say so, and do the steps."""
    groups = world.make_groups(case, steps)
    tokenizer, model = world.make_tokenizer(case), world.make_model(case)
    begin = time.perf_counter()
    trainer = make_trainer(trl, case, steps, Path(folder), model, tokenizer, groups)
    prepared = time.perf_counter() - begin
    if case["lora"]:
        world.start_adapters(trainer.model)
    check_tokens(case, trainer.train_dataset, groups)
    facts = {
        **began,
        "prepared": prepared,
        "parameters": sum(p.numel() for p in trainer.model.parameters()),
        "trained": sum(p.numel() for p in trainer.model.parameters() if p.requires_grad),
        "owned": world.owned_bytes(case, trainer.model),
    }
    paced = pace.Paced(turns, facts, Path(folder) / "trl.safetensors")
    trainer.add_callback(paced)
    pace.watch_loss(trainer, paced)
    trainer.train()


def rows_of(groups: list[world.Group]) -> list[list[list[int]]]:
    """A prompt and its one response, or every pair of a list: what a pairwise trainer takes."""
    return [
        [prompt, *chosen]
        for prompt, responses in groups
        for chosen in combinations(responses, min(2, len(responses)))
    ]


def make_trainer(
    trl: Any, case: Any, steps: int, folder: Path, model: Any, tokenizer: Any, groups: Any
) -> Any:
    """Return TRL's trainer of the case, which takes rows in their order."""
    from datasets import Dataset, disable_progress_bars
    from torch.utils.data import SequentialSampler

    disable_progress_bars()
    rows = rows_of(groups)
    names = ["prompt", "completion"] if case["task"] == "sft" else ["prompt", "chosen", "rejected"]
    columns = {
        name: [" " * (name != "prompt") + world.to_text(row[at]) for row in rows]
        for at, name in enumerate(names)
    }
    shared = world.training_arguments(case, steps, folder / "trl")
    shared |= {"per_device_train_batch_size": len(rows) // steps, "max_length": None}
    given: dict[str, Any] = {
        "model": model, "train_dataset": Dataset.from_dict(columns), "processing_class": tokenizer,
        "peft_config": world.lora_config() if case["lora"] else None,
    }  # fmt: skip
    if case["task"] == "reward":
        base, args = trl.RewardTrainer, trl.RewardConfig(**shared)
    elif case["task"] == "sft":
        base, args = trl.SFTTrainer, trl.SFTConfig(**shared, completion_only_loss=True)
    else:
        base = trl.DPOTrainer
        cached = case["reference"] == "cached"
        args = trl.DPOConfig(**shared, beta=0.1, precompute_ref_log_probs=cached)
        if not cached and not case["lora"]:
            given["ref_model"] = world.make_model(case)

    class InOrder(base):
        def _get_train_sampler(self, dataset: Any = None) -> Any:
            return SequentialSampler(self.train_dataset)

    return InOrder(args=args, **given)


def check_tokens(case: Any, data: Any, groups: list[world.Group]) -> None:
    """Stop unless TRL trains on exactly the tokens of the case."""
    for row, (prompt, *responses) in zip(data, rows_of(groups), strict=True):
        if case["task"] == "reward":
            found = [row["chosen_ids"], row["rejected_ids"]]
            meant = [prompt + response for response in responses]
        elif case["task"] == "sft":
            found = [row["input_ids"], row["labels"]]
            meant = [prompt + responses[0], [-100] * len(prompt) + responses[0]]
        else:
            found = [row["prompt_ids"], row["chosen_ids"], row["rejected_ids"]]
            meant = [prompt, *responses]
        if [list(part) for part in found] != meant:
            raise SystemExit("TRL's tokens are not those of the case")


if __name__ == "__main__":
    main()
