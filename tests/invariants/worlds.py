"""Runs on a tiny model whose result must not depend on how the batch is cut.

Imported by the tests, and started as a program for several processes.
"""

import argparse
import copy
import json
import os
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM, TrainerCallback, TrainingArguments

from prefine.adapters import CausalLM
from prefine.objectives import (
    alpha_dpo,
    aot,
    bco,
    dpo,
    kto,
    plackett_luce,
    robust_em,
    sft,
    simpo,
    tdpo2,
)
from prefine.objectives.degrees import degree_cross_entropy
from prefine.scores import Term
from prefine.training.degree_head import attach_head
from prefine.training.reference import ModuleReference
from prefine.training.rows import EncodedRows
from prefine.training.trainer import PreferenceTrainer

ROWS = 21  # the last global batch of 8 is ragged


class Tokens:
    """As much of a tokenizer as encoded rows need."""

    pad_token_id, eos_token_id, chat_template = 0, 1, "none"


OBJECTIVES: dict[str, tuple[Any, str]] = {
    "dpo": (lambda: partial(dpo, beta=1.0), "pair"),
    "simpo": (lambda: simpo, "pair"),
    "sft": (lambda: sft, "point"),
    "kto": (lambda: kto(beta=1.0), "point"),
    "plackett_luce": (lambda: plackett_luce, "list"),
    "robust_em": (lambda: robust_em(partial(dpo, beta=1.0), num_raters=3), "pair"),
    "terms": (
        lambda: [
            Term("response", partial(dpo, beta=1.0), ("chosen", "rejected")),
            Term("contrast", partial(dpo, beta=0.5), ("chosen", "extra"), 0.3),
        ],
        "pair",
    ),
    "degrees": (
        lambda: [
            Term("preference", partial(dpo, beta=1.0), ("chosen", "rejected")),
            Term("degrees", degree_cross_entropy, ("damaged_chosen", "damaged_rejected")),
        ],
        "damaged",
    ),
    "aot": (lambda: partial(aot, beta=1.0), "equal"),
    "bco": (lambda: bco(beta=1.0), "point"),
    "alpha_dpo": (lambda: alpha_dpo(beta=1.0), "pair"),
    "tdpo2": (lambda: partial(tdpo2, beta=1.0), "pair"),
}


def rows(kind: str, silent: bool = False) -> list[dict[str, Any]]:
    """Encoded rows of unequal lengths and weights; `silent` gives every second four no weight."""
    rng = np.random.default_rng(0)

    def tokens(low: int, high: int) -> np.ndarray:
        return rng.integers(3, 32, rng.integers(low, high)).astype(np.int32)

    made = []
    for i in range(ROWS):
        count = {"point": 1, "list": int(rng.integers(2, 5))}.get(kind, 2)
        roles = {"point": ["response"], "list": [f"response_{k}" for k in range(count)]}.get(
            kind, ["chosen", "rejected"]
        )
        if kind == "point":
            roles = [*roles, "mismatched"]
        elif kind == "damaged" and i % 3:
            roles = [*roles, "damaged_chosen", "damaged_rejected"]
        elif kind == "pair" and i % 3:
            roles = [*roles, "extra"]
        responses = [tokens(1, 9) for _ in roles]
        weight = 1.0 if kind == "equal" else float(rng.uniform(0.2, 3.0))
        made.append(
            {
                "record": f"r{i}",
                "weight": 0.0 if silent and i // 4 % 2 else weight,
                "rater": i % 3,
                "label": [bool(i % 2)] if kind == "point" else None,
                "utility": [float(count - k) for k in range(count)] if kind == "list" else None,
                "roles": roles,
                "degree": [-1, -1, i % 4, i % 2][: len(roles)] if kind == "damaged" else None,
                "prompt": [tokens(2, 6)] * len(roles),
                "response": responses,
                "mask": [np.ones(len(r), dtype=bool) for r in responses],
            }
        )
    return made


def tiny(dtype: torch.dtype) -> LlamaForCausalLM:
    """A two-layer Llama with fixed random weights."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=32,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=1,
    )
    return LlamaForCausalLM(config).to(dtype)


class _Gradients(TrainerCallback):
    def __init__(self, model: torch.nn.Module) -> None:
        self.model, self.first = model, {}

    def on_pre_optimizer_step(self, *_: Any, **__: Any) -> None:
        if not self.first:
            self.first = {n: p.grad.detach().clone() for n, p in self.model.named_parameters()}


def fit(
    name: str,
    per_device: int,
    accumulate: int,
    *,
    dtype: torch.dtype = torch.float64,
    silent: bool = False,
    out: str | None = None,
    steps: int = 5,
    resume: str | None = None,
    save_steps: int | None = None,
    callback: TrainerCallback | None = None,
    on_step: Any = None,
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], list[dict[str, Any]], Any]:
    """Train a few steps; return parameters, the first step's gradients, metrics, the trainer."""
    make, kind = OBJECTIVES[name]
    model, adapter = tiny(dtype), CausalLM(Tokens())
    reference = ModuleReference(copy.deepcopy(model), adapter, "initial", is_initial_policy=True)
    if kind == "damaged":
        attach_head(model, 4, 3e-2)
    folder = out or tempfile.mkdtemp()
    args = TrainingArguments(
        folder, per_device_train_batch_size=per_device, gradient_accumulation_steps=accumulate,
        max_steps=steps, learning_rate=1e-2, report_to="none", disable_tqdm=True, use_cpu=True,
        logging_steps=1, lr_scheduler_type="constant", optim="adamw_torch", max_grad_norm=1.0,
        save_strategy="no" if save_steps is None else "steps", save_steps=save_steps or 500,
        seed=0,
    )  # fmt: skip
    data, metrics = rows(kind, silent), []
    gradients = _Gradients(model)
    trainer = PreferenceTrainer(
        model, adapter=adapter, objective=make(), args=args, reference=reference,
        train_dataset=EncodedRows(lambda _: data, len(data)),
        on_step=on_step or metrics.append, callbacks=[gradients] + ([callback] if callback else []),
    )  # fmt: skip
    trainer.train(resume_from_checkpoint=resume)
    parameters = {n: p.detach().clone() for n, p in model.named_parameters()}
    return parameters, gradients.first, metrics, trainer


def main() -> None:
    """Run objectives as one of several processes; the first writes what came of each."""
    parser = argparse.ArgumentParser()
    parser.add_argument("objectives", help="names, with commas between them")
    parser.add_argument("per_device", type=int)
    parser.add_argument("accumulate", type=int)
    parser.add_argument("out", type=Path)
    parser.add_argument("--dtype", default="float64")
    parser.add_argument("--silent", action="store_true")
    given = parser.parse_args()
    for name in given.objectives.split(","):
        parameters, gradients, metrics, _ = fit(
            name, given.per_device, given.accumulate,
            dtype=getattr(torch, given.dtype), silent=given.silent,
        )  # fmt: skip
        if os.environ.get("RANK", "0") == "0":
            (out := given.out / name).mkdir(parents=True, exist_ok=True)
            save_file(parameters, out / "parameters.safetensors")
            save_file(gradients, out / "gradients.safetensors")
            (out / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
