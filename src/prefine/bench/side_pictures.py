"""prefine's side of the picture case: the trainer of `prefine train`, on the same latents."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import TrainingArguments

from prefine.adapters.denoisers import unet
from prefine.adapters.diffusion import Diffusion
from prefine.bench import pace, picture_world, world
from prefine.objectives.registry import build
from prefine.protocols import Batch, Draw
from prefine.training.reference import AdapterOff
from prefine.training.rows import EncodedRows

Row = Mapping[str, Any]


def main() -> None:
    """Train as the case says, a step a turn."""
    from prefine.bench.shares import Profile

    given, turns = pace.begin(Profile())
    from prefine.training.trainer import PreferenceTrainer

    _ = PreferenceTrainer
    began = {"imported": pace.age(), "base": turns.meter.held()}
    pace.run(turns, lambda: work(turns, began, **given))


@dataclass(frozen=True, kw_only=True)
class Given(Diffusion):
    """Takes time and noise from the case, so that both sides see the same."""

    def collate(self, rows: Sequence[Row]) -> Batch:
        """Lay rows out, and keep their numbers."""
        return {**super().collate(rows), "numbers": [int(row["record"]) for row in rows]}

    def draw(self, batch: Batch, model: nn.Module) -> Draw:
        """Return the case's draws, one for both pictures of a pair."""
        sample = batch["items"]["sample"]
        draws = [picture_world.drawn(number, sample[0]) for number in batch["numbers"]]
        when = torch.stack([time for time, _ in draws]).repeat_interleave(2)[:, None]
        noise = torch.stack([noise for _, noise in draws]).repeat_interleave(2, 0)[:, None]
        return Draw({"time": when.to(sample.device), "noise": noise.to(sample.device)})


def work(
    turns: pace.Turns, began: dict[str, Any], case: Any, steps: int, folder: str, **_: Any
) -> None:
    """Prepare, say so, and do the steps."""
    from prefine.training.trainer import PreferenceTrainer

    begin = time.perf_counter()
    rows, adapter = make_rows(case, steps), make_adapter()
    model = picture_world.make_model(case)
    facts = {
        **began,
        "parameters": sum(p.numel() for p in model.parameters()),
        "trained": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "owned": picture_world.owned_bytes(model),
        "layout": adapter.layout,
        "first": case["steps"],
        **costs(case, model, adapter, rows, steps),
    }
    shared = world.training_arguments(case, steps, Path(folder) / case["side"])
    trainer = PreferenceTrainer(
        model,
        adapter=adapter,
        objective=build("dpo", {"beta": 2 * picture_world.BETA}),
        reference=AdapterOff(model, "policy"),
        train_dataset=EncodedRows(lambda _: rows, len(rows)),
        args=TrainingArguments(
            **shared,
            per_device_train_batch_size=case["prompts"],
            train_sampling_strategy="sequential",
        ),
    )
    facts["prepared"] = time.perf_counter() - begin
    paced = pace.Paced(turns, facts, Path(folder) / f"{case['side']}.safetensors")
    trainer.add_callback(paced)
    pace.watch_loss(trainer, paced)
    trainer.train()


def make_adapter() -> Given:
    """Return the adapter of the case."""
    return Given(alphas=picture_world.make_scheduler().alphas_cumprod.double(), predict=unet)


def make_rows(case: Any, steps: int) -> list[dict[str, Any]]:
    """Return the pairs of all steps as the adapter collates them."""
    latents, captions = picture_world.make_pairs(case, steps)
    return [
        {
            "record": str(number), "cluster": str(number), "weight": 1.0,
            "roles": ["chosen", "rejected"], "sample": list(pair.numpy()),
            "condition": [{"text": caption.numpy()}] * 2,
        }
        for number, (pair, caption) in enumerate(zip(latents, captions, strict=True))
    ]  # fmt: skip


def costs(
    case: Any, model: nn.Module, adapter: Given, rows: Sequence[Row], steps: int
) -> dict[str, Any]:
    """Return what each step costs, the same on both sides; a picture counts as a token."""
    batch = adapter.collate(rows[: case["prompts"]])
    counter = FlopCounterMode(display=False)
    with counter:
        adapter.score(model, batch, adapter.draw(batch, model)).value.sum().backward()
    forward = FlopCounterMode(display=False)
    with forward, torch.no_grad():
        adapter.score(model, batch, adapter.draw(batch, model))
    model.zero_grad()
    flops = [float(counter.get_total_flops() + forward.get_total_flops())] * steps
    pictures = [2 * case["prompts"]] * steps
    return {
        "response_tokens": pictures, "tokens": pictures, "their_tokens": pictures,
        "flops": flops, "necessary_flops": flops, "their_flops": flops, "products": [],
    }  # fmt: skip


if __name__ == "__main__":
    main()
