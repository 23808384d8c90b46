"""TRL's side of a case. Run as a script by a Python that has TRL: nothing here is prefine's."""

import importlib.util
import json
import logging
import sys
import time
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import pace  # pyright: ignore[reportMissingImports]
import world  # pyright: ignore[reportMissingImports]


def main() -> None:
    """Train as the case says, a step a turn."""
    begin = time.perf_counter()
    given = json.loads(sys.argv[1])
    case, steps, folder = given["case"], given["steps"], Path(given["folder"])
    if case["tuned"]:
        tune().tune()
    import torch

    torch.set_num_threads(given["threads"])
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    import trl

    _ = trl.DPOTrainer, trl.RewardTrainer  # imported where they are asked for
    imported, base = time.perf_counter() - begin, pace.memory("VmRSS")
    groups = world.make_groups(case, steps)
    model, tokenizer = world.make_model(case), world.make_tokenizer(case)
    begin = time.perf_counter()
    trainer = make_trainer(trl, case, steps, folder, model, tokenizer, groups)
    prepared = time.perf_counter() - begin
    if case["lora"]:
        world.start_adapters(trainer.model)
    check_tokens(case, trainer.train_dataset, groups)
    facts = {
        "version": trl.__version__, "imported": imported, "prepared": prepared, "base": base,
        "parameters": sum(p.numel() for p in trainer.model.parameters()),
        "trained": sum(p.numel() for p in trainer.model.parameters() if p.requires_grad),
    }  # fmt: skip
    paced = pace.Paced(facts, folder / "trl.safetensors")
    trainer.add_callback(paced)
    pace.watch_loss(trainer, paced)
    trainer.train()


def tune() -> Any:
    """Load the settings that both processes get, without importing prefine."""
    path = Path(__file__).parents[1] / "engine" / "tune.py"
    spec = importlib.util.spec_from_file_location("tune", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pairs_of(groups: list[world.Group]) -> list[tuple[list[int], list[int], list[int]]]:
    """Every pair of each list: what a pairwise trainer must be given."""
    return [
        (prompt, better, worse)
        for prompt, responses in groups
        for at, better in enumerate(responses)
        for worse in responses[at + 1 :]
    ]


def make_trainer(
    trl: Any, case: Any, steps: int, folder: Path, model: Any, tokenizer: Any, groups: Any
) -> Any:
    """Return TRL's trainer of the case, which takes rows in their order."""
    from datasets import Dataset, disable_progress_bars
    from torch.utils.data import SequentialSampler

    disable_progress_bars()
    rows = [[world.to_text(part) for part in row] for row in pairs_of(groups)]
    columns = {
        "prompt": [prompt for prompt, _, _ in rows],
        "chosen": [" " + chosen for _, chosen, _ in rows],
        "rejected": [" " + rejected for _, _, rejected in rows],
    }
    shared = world.training_arguments(case, steps, folder / "trl")
    shared["per_device_train_batch_size"] = len(rows) // steps
    given: dict[str, Any] = {
        "model": model, "train_dataset": Dataset.from_dict(columns), "processing_class": tokenizer,
        "peft_config": world.lora_config() if case["lora"] else None,
    }  # fmt: skip
    if case["task"] == "reward":
        base, args = trl.RewardTrainer, trl.RewardConfig(**shared, max_length=None)
    else:
        base = trl.DPOTrainer
        cached = case["reference"] == "cached"
        args = trl.DPOConfig(**shared, max_length=None, beta=0.1, precompute_ref_log_probs=cached)
        if not cached and not case["lora"]:
            given["ref_model"] = world.make_model(case)

    class InOrder(base):
        def _get_train_sampler(self, dataset: Any = None) -> Any:
            return SequentialSampler(self.train_dataset)

    return InOrder(args=args, **given)


def check_tokens(case: Any, data: Any, groups: list[world.Group]) -> None:
    """Stop unless TRL trains on exactly the tokens of the case."""
    for row, (prompt, better, worse) in zip(data, pairs_of(groups), strict=True):
        if case["task"] == "reward":
            found = [row["chosen_ids"], row["rejected_ids"]]
            meant = [prompt + better, prompt + worse]
        else:
            found = [row["prompt_ids"], row["chosen_ids"], row["rejected_ids"]]
            meant = [prompt, better, worse]
        if [list(part) for part in found] != meant:
            raise SystemExit("TRL's tokens are not those of the case")


if __name__ == "__main__":
    main()
