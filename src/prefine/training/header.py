"""What a run says of itself before its first step: everything a reader must know to repeat it."""

import platform
import sys
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import torch

from prefine.engine import weights_hash
from prefine.training.plan import Plan
from prefine.training.reference import Identity

PACKAGES = ("prefine", "torch", "transformers", "accelerate", "peft", "datasets")


def describe(plan: Plan, reference: Identity) -> dict[str, Any]:
    """Return the run's header: everything a reader must know to trust or repeat it."""
    config = plan.config
    trainable = sum(p.numel() for p in plan.model.parameters() if p.requires_grad)
    return {
        "objective": config.objective,
        "formula": plan.formula,
        "reference": str(reference),
        "model": config.model,
        "weights": weights_hash(plan.model),
        "parameters": sum(p.numel() for p in plan.model.parameters()),
        "trainable": trainable,
        "dtype": str(next(plan.model.parameters()).dtype).removeprefix("torch."),
        "adapter": plan.adapter.fingerprint(),
        "layout": plan.adapter.layout,
        "unit": plan.adapter.unit,
        "data": plan.data.facts,
        "rows": {
            "train": len(plan.data.train),
            "held_out": 0 if plan.data.held_out is None else len(plan.data.held_out),
        },
        "set_aside": dict(plan.data.set_aside),
        "notes": list(plan.data.notes),
        "seed": config.seed,
        "versions": {name: version(name) for name in PACKAGES}
        | {"python": platform.python_version()},
        "device": "cuda" if torch.cuda.is_available() else "cpu",
    }


def announce(plan: Plan, header: Mapping[str, Any], quiet: bool) -> None:
    """Print the header for a person, with a sample, on standard error."""
    lines = [
        f"objective   {header['objective']}: {header['formula']}",
        f"reference   {header['reference']}",
        f"model       {header['model']} ({header['trainable']:,} of {header['parameters']:,} "
        f"parameters trained, {header['dtype']})",
        f"data        {header['data']['data']} ({header['data']['format']}, "
        f"{header['data']['records']} records, {header['data']['rejects']} unreadable)",
        f"rows        {header['rows']['train']} to train on, {header['rows']['held_out']} held out",
    ]
    lines += [f"set aside   {count}: {reason}" for reason, count in header["set_aside"].items()]
    lines += [f"note        {note}" for note in header["notes"]]
    lines += ["sample      scored text stands in ⟦ ⟧", plan.data.sample]
    if not quiet:
        print("\n".join(lines), file=sys.stderr)
