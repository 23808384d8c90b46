"""Save the model of a finished run: whole, as safetensors, with what its numbers mean."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from prefine.adapters import SequenceReward
from prefine.adapters.templates import ChatTemplate
from prefine.evaluation.ranking import MEANINGS
from prefine.models.picture_export import write_lora
from prefine.models.pictures import adapters_stand_on
from prefine.models.reward import RewardCard
from prefine.models.whole import whole_model
from prefine.report.card import model_card
from prefine.storage import atomic_folder
from prefine.training.distributed import is_main
from prefine.training.outcome import Outcome

if TYPE_CHECKING:
    from prefine.training.plan import Plan
    from prefine.training.trainer import PreferenceTrainer

PICKLED = "training_args.bin"
"""The Trainer writes its arguments as a pickle; run.yaml holds them for everyone to read."""


def save_model(
    plan: "Plan", trainer: "PreferenceTrainer", summary: Mapping[str, Any], outcome: Outcome
) -> None:
    """Write `model/`: weights, configuration, tokenizer, card and a reward's `preference.json`."""
    final = plan.folder.model
    part = final.with_name(f".{final.name}.writing")
    if plan.pictures is not None and plan.config.lora is None:
        if is_main():
            plan.pictures.save(part, trainer.accelerator.unwrap_model(trainer.policy))
    else:
        trainer.save_model(str(part))
    trainer.accelerator.wait_for_everyone()
    if not is_main():
        return
    if plan.pictures is not None and plan.config.lora is not None:
        _name_base(part / "adapter_config.json", plan.config.model)
        write_lora(plan.pictures, trainer.accelerator.unwrap_model(trainer.policy), part)
    if plan.tokenizer is not None:
        if plan.config.lora is not None and adapters_stand_on(plan.config.model):
            base = whole_model(plan.config.model, plan.folder.base)
            _name_base(part / "adapter_config.json", base)
        _save_tokenizer(plan, part)
    if isinstance(plan.adapter, SequenceReward):
        reward_card(plan, plan.adapter, outcome).save(part)
    (part / PICKLED).unlink(missing_ok=True)
    _card(plan, summary).save(part / "README.md")
    with atomic_folder(final) as target:
        for path in part.iterdir():
            path.replace(target / path.name)
    shutil.rmtree(part)


def _name_base(path: Path, name: str) -> None:
    """Name what adapters belong to where the model that they were trained on does not say so."""
    said = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(
        json.dumps(said | {"base_model_name_or_path": name}, indent=2) + "\n", encoding="utf-8"
    )


def _save_tokenizer(plan: "Plan", part: Path) -> None:
    chat = ChatTemplate.choose(plan.tokenizer, plan.config.template)
    if chat.source is not None:  # whoever loads the model must speak to it as it was trained
        plan.tokenizer.chat_template = chat.source
    plan.tokenizer.save_pretrained(part)


def _card(plan: "Plan", summary: Mapping[str, Any]) -> Any:
    config = plan.config
    return model_card(
        _public(summary, (config.model, config.data)),
        name=f"{Path(config.model).name} after {config.objective}",
        base_model=None if Path(config.model).exists() else config.model,
        datasets=() if Path(config.data).exists() else (config.data.split("@")[0],),
        meanings=MEANINGS,
    )


def _public(value: Any, places: Sequence[str]) -> Any:
    """Name local files and folders without the path to them: a card leaves this machine."""
    if isinstance(value, Mapping):
        return {key: _public(part, places) for key, part in value.items()}
    if not isinstance(value, str):
        return value
    for place in places:
        if Path(place).exists():
            value = value.replace(place, Path(place).name)
    return value


def reward_card(plan: "Plan", adapter: SequenceReward, outcome: Outcome) -> RewardCard:
    """Say what a reward's numbers mean: its spread on the held-out responses, its template."""
    values = np.array([value for row in outcome.scores for value in row])
    chat = ChatTemplate.choose(plan.tokenizer, plan.config.template)
    centred = float(plan.config.options.get("centre", 0.0)) > 0
    data = _public(plan.config.data, (plan.config.data,))
    return RewardCard(
        template=chat.name,
        template_hash=chat.hash,
        mean=float(values.mean()) if len(values) else 0.0,
        std=float(values.std()) if len(values) else 1.0,
        distribution=f"responses held out of {data}" if len(values) else "unknown",
        max_length=plan.config.max_length,
        temperature=float(plan.config.options.get("temperature", 1.0)),
        scale="absolute" if centred else "prompt",
    )
