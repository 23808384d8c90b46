"""The parts of a run, from its configuration: data, model, adapter, objective, arguments."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from transformers import TrainingArguments, set_seed

from prefine.adapters import CausalLM, SequenceReward
from prefine.adapters.text_adapter import TextAdapter
from prefine.engine import Choice, choose_layout
from prefine.errors import ConfigError
from prefine.models import load_policy, load_reward_model, load_tokenizer
from prefine.models.pictures import PictureModel, is_picture_model, load_picture_model
from prefine.objectives import registry
from prefine.objectives.declare import Spec, spec, unwrapped
from prefine.objectives.options import options_of
from prefine.runs import RunFolder
from prefine.training.beside import check_terms, with_terms
from prefine.training.config import DenoisingConfig, RunConfig
from prefine.training.data import RunData, load_data
from prefine.training.distributed import main_first, uses_fsdp
from prefine.training.features import freeze_trunk
from prefine.training.pictures import picture_parts, refuse_nats, refuse_pictures
from prefine.training.stop_early import refuse_unwatched, stopping_arguments
from prefine.training.streaming import for_trajectories, learns_read, make_room, refuse_streaming
from prefine.training.terms import as_terms
from prefine.training.twin import ABOUT, add_twin, chased_formula, refuse_chase

DEFAULT_RATES = {"sft": 2e-5, "reward": 1e-5, "policy": 1e-6, "pictures": 1e-5}
LORA_FACTOR = 10
"""Adapters want a larger rate than full fine-tuning; both are printed in the header."""


@dataclass
class Plan:
    """The parts of a run, before the first step.

    Attributes:
        tokenizer: None for a picture model.
        pictures: The pipeline around a picture model, or None for a language model.
    """

    config: RunConfig
    objective: Any
    declared: Spec
    adapter: Any
    model: Any
    tokenizer: Any
    data: RunData
    folder: RunFolder
    pictures: PictureModel | None = None

    @property
    def terms(self) -> Any:
        """The objective, and the terms beside it, if there are any."""
        return with_terms(self.config, self.objective)

    @property
    def formula(self) -> str:
        """The loss of a row."""
        if self.config.chase is not None:
            return chased_formula(self.objective, self.config.chase)
        terms = as_terms(self.terms)
        if len(terms) == 1:
            return self.declared.formula
        return " + ".join(f"[{spec(term.objective).formula}] ({term.name})" for term in terms)

    @property
    def denoising(self) -> DenoisingConfig:
        """How a picture model is scored."""
        return self.config.denoising or DenoisingConfig()

    @property
    def token_budget(self) -> int | None:
        """Most tokens computed at once; FSDP and pictures have none."""
        return None if uses_fsdp() or self.pictures else self.config.token_budget

    def load_reference(self, name: str) -> Any:
        """Load another model of this kind."""
        if self.pictures is None:
            return load_policy(name, dtype=self.config.dtype)
        return load_picture_model(name, dtype=self.config.dtype).denoiser


def prepare(config: RunConfig, folder: RunFolder, *, quiet: bool = False) -> Plan:
    """Build everything a run needs short of the reference."""
    set_seed(config.seed)
    name = "bradley_terry" if config.objective == "reward" else config.objective
    objective = registry.build(name, config.options)
    declared = spec(objective)
    pictures, tokenizer, is_new = None, None, False
    if is_picture_model(config.model, config.revision):
        check_terms(config, declared, "a picture model")
        refuse_streaming(config, declared, "a picture model")
        pictures, adapter = picture_parts(config, declared, progress=not quiet)
        refuse_nats(config, adapter, objective, declared)
    else:
        refuse_pictures(config)
        check_terms(config, declared, name)
        refuse_streaming(config, declared, name)
        tokenizer = load_tokenizer(config.model, config.revision)
        is_new = learns_read(config, name, tokenizer)
        adapter = _adapter(config, declared, tokenizer, progress=not quiet)
        adapter = for_trajectories(adapter, config, declared)
    if config.chase is not None:
        refuse_chase(config, objective, declared, adapter)
    with main_first():
        data = load_data(config, declared, adapter, name=name)
    learnt = _from_data(objective, config.options, declared, data)
    if learnt:
        objective = registry.build(name, {**config.options, **learnt})
        declared = spec(objective)
    set_seed(config.seed)
    model, notes = _model(config, adapter, tokenizer, pictures, is_new=is_new)
    notes.append(_about_memory(config))
    if pictures is None:
        adapter, note = _laid_out(config, adapter, model)
        notes = [note, *notes, _about_sharing(adapter, data), _about_experts(model)]
    data.notes += [note for note in notes if note]
    return Plan(config, objective, declared, adapter, model, tokenizer, data, folder, pictures)


def arguments(config: RunConfig, plan: Plan, quiet: bool) -> TrainingArguments:
    """Return transformers' arguments: our defaults, and over them the configuration's own.

    Raises:
        ConfigError: If transformers refuses them, or there is nothing to evaluate on.
    """
    kind = "reward" if isinstance(plan.adapter, SequenceReward) else "policy"
    kind = "sft" if config.objective == "sft" else kind
    kind = kind if plan.pictures is None else "pictures"
    rate = DEFAULT_RATES[kind] * (1 if config.lora is None else LORA_FACTOR)
    values: dict[str, Any] = {
        "learning_rate": rate,
        "num_train_epochs": 1,
        "per_device_train_batch_size": 8,
        "per_device_eval_batch_size": 16,
        "lr_scheduler_type": "linear",
        "warmup_steps": 0.1,
        "logging_steps": 10,
        "save_strategy": "epoch",
        "save_total_limit": 2,
        "eval_strategy": "epoch" if plan.data.held_out is not None else "no",
        "report_to": "none",
        "disable_tqdm": quiet,
        "dataloader_pin_memory": torch.accelerator.is_available(),  # torch warns where it is not
        **config.training,
    }
    if values["eval_strategy"] not in ("no", None) and plan.data.held_out is None:
        raise ConfigError(
            "training.eval_strategy: there is no held-out data. Set eval_data or holdout."
        )
    if config.stop_early is not None:
        refuse_unwatched(config.stop_early, plan.declared, plan.adapter.unit)
        values |= stopping_arguments(values, config.training, config.stop_early.window)
    try:
        return TrainingArguments(
            output_dir=str(plan.folder.checkpoints), seed=config.seed, **values
        )
    except ValueError as error:
        raise ConfigError(f"training: transformers refuses these arguments. {error}") from error


def autocast_of(config: RunConfig) -> torch.dtype | None:
    """What products are computed in, where it is not the weights' own type."""
    training = config.training
    return (
        torch.bfloat16 if training.get("bf16") else torch.float16 if training.get("fp16") else None
    )


def _model(
    config: RunConfig, adapter: Any, tokenizer: Any, pictures: PictureModel | None, *, is_new: bool
) -> tuple[Any, list[str]]:
    """Load the model, add what is trained on it and freeze what is not; say what was done."""
    notes: list[str] = []
    if pictures is not None:
        model = pictures.denoiser
    elif isinstance(adapter, SequenceReward):
        model = load_reward_model(
            config.model, dtype=config.dtype, revision=config.revision, tokenizer=tokenizer
        )
    else:
        model = load_policy(config.model, dtype=config.dtype, revision=config.revision)
    if is_new:
        notes.append(make_room(model, tokenizer))
    if config.lora is not None:
        model = _with_lora(model, config, adapter)
    if config.chase is not None:
        model = add_twin(model)
        notes.append(ABOUT)
    if config.head_only:
        _check_head_only(config, adapter)
        freeze_trunk(model)
    return model, notes


def _from_data(
    objective: Any, options: Mapping[str, Any], declared: Spec, data: RunData
) -> dict[str, Any]:
    """Options the data decides where nobody did: how many raters, the ends of the rewards."""
    if "rater" in declared.needs.columns and "num_raters" not in options:
        return {"num_raters": max(1, len(data.train_view.raters))}
    ends = {"low": min, "high": max}
    if (
        "utility" not in declared.needs.required
        or not ends.keys() <= options_of(unwrapped(objective)).keys()
    ):
        return {}
    rewards = [value for row in data.train_view.rows["utility"] for value in row]
    if min(rewards) == max(rewards):
        return {}
    return {name: end(rewards) for name, end in ends.items() if name not in options}


def _adapter(config: RunConfig, declared: Spec, tokenizer: Any, *, progress: bool) -> Any:
    kind = SequenceReward if declared.unit == "reward" else CausalLM
    return kind(
        tokenizer,
        template=config.template,
        max_length=config.max_length,
        truncate=config.truncate,
        progress=progress,
    )


def _with_lora(model: Any, config: RunConfig, adapter: Any) -> Any:
    from peft import LoraConfig, TaskType, get_peft_model

    assert config.lora is not None
    reward, text = isinstance(adapter, SequenceReward), isinstance(adapter, TextAdapter)
    lora = LoraConfig(
        r=config.lora.r,
        lora_alpha=config.lora.alpha,  # type: ignore[arg-type]
        lora_dropout=0.0,
        target_modules=config.lora.target_modules,
        task_type=TaskType.SEQ_CLS if reward else TaskType.CAUSAL_LM if text else None,
    )
    return get_peft_model(model, lora)


def _laid_out(config: RunConfig, adapter: Any, model: Any) -> tuple[Any, str]:
    """The adapter with the layout of the run, and what is to be said about it."""
    if config.layout == "padded":
        return adapter, ""
    reward = isinstance(adapter, SequenceReward)
    choice = Choice("padded", "FSDP shards it") if uses_fsdp() else choose_layout(model, reward)
    if choice.layout == "packed":
        return replace(adapter, layout="packed"), ""
    if config.layout == "packed":
        raise ConfigError(f"layout=packed: {choice.reason}. Leave it at auto.")
    return adapter, f"prompts are computed once for each response: {choice.reason}"


def _check_head_only(config: RunConfig, adapter: Any) -> None:
    if not isinstance(adapter, SequenceReward):
        raise ConfigError("head_only trains a reward model's head; a policy has none. Remove it.")
    if config.lora is not None:
        raise ConfigError("head_only freezes the trunk, and lora trains it. Choose one.")


def _about_sharing(adapter: Any, data: RunData) -> str:
    """Why packed rows share nothing, where no prompt has several responses."""
    if adapter.layout != "packed":
        return ""
    seen: set[int] = set()
    for row in data.train.epochs(0):  # the first row of pairs ends it
        for prompt in row["prompt"]:
            key = hash(prompt.tobytes())
            if key in seen:
                return ""
            seen.add(key)
    return "every prompt has one response: packed without sharing"


def _about_experts(model: Any) -> str:
    """What is left out where a configuration asks for a loss on the router."""
    config = model.config.get_text_config()
    asked = getattr(config, "output_router_logits", False)
    if not asked or not getattr(config, "router_aux_loss_coef", 0):
        return ""
    return "the router's auxiliary loss (router_aux_loss_coef) is no part of an objective: left out"


def _about_memory(config: RunConfig) -> str:
    """What is to be said about the options that bound memory.

    Raises:
        ConfigError: If there is nothing to move activations away from.
    """
    if config.offload_activations and not torch.accelerator.is_available():
        raise ConfigError(
            "offload_activations moves activations from an accelerator to the host's memory, but "
            "this machine has no accelerator. Set training.gradient_checkpointing=true instead."
        )
    if uses_fsdp() and config.token_budget is not None:
        return "token_budget is not used under FSDP, whose processes compute equally many parts"
    return ""
