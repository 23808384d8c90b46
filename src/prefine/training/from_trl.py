"""From a configuration of TRL 1.16 to one of prefine: every key is carried over or named."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from prefine.errors import ConfigError
from prefine.training.config import RENAMED, override
from prefine.training.trl_losses import DEFAULTS, LOSSES, PAIR_LOSSES

Values = Mapping[str, Any]

METHODS = tuple(LOSSES)

TELLING = {
    "completion_only_loss": "sft",
    "assistant_only_loss": "sft",
    "packing": "sft",
    "dataset_text_field": "sft",
    "center_rewards_coefficient": "reward",
    "ld_alpha": "dpo",
    "loss_weights": "dpo",
    "use_weighting": "dpo",
    "f_divergence_type": "dpo",
    "discopop_tau": "dpo",
    "desirable_weight": "kto",
    "undesirable_weight": "kto",
    "cpo_alpha": "cpo",
    "simpo_gamma": "cpo",
}
"""Keys that only one of TRL's trainers has."""

TELLING_LOSSES = {
    "dpo": PAIR_LOSSES.keys() - {"sigmoid", "hinge", "ipo"},
    "kto": {"kto", "apo_zero_unpaired"},
    "cpo": {"simpo", "alphapo"},
}
"""Values of `loss_type` that only one of TRL's trainers has."""

MOVED = {
    "model_name_or_path": "model",
    "model_revision": "revision",
    "dtype": "dtype",
    "torch_dtype": "dtype",
    "dataset_name": "data",
    "dataset_config": "rows.config",
    "dataset_train_split": "rows.split",
    "output_dir": "out",
    "max_length": "max_length",
    "activation_offloading": "offload_activations",
    "seed": "seed",
    "chat_template_path": "template",
    "warmup_ratio": "training.warmup_steps",
}
"""Keys that have another name here and the same meaning."""

ADAPTERS = {
    "lora_r": "lora.r",
    "lora_alpha": "lora.alpha",
    "lora_target_modules": "lora.target_modules",
}

NAMED = {
    "trust_remote_code": "prefine never runs code that comes with a model",
    "attn_implementation": "chosen by transformers; it does not change results",
    "model_init_kwargs": "name what it holds: `dtype` and `revision` have keys of their own",
    "router_aux_loss_coef": "the auxiliary loss of routers is the model configuration's",
    "disable_dropout": "dropout is off wherever a policy is scored twice",
    "dataset_num_proc": "encoding is fast enough in one process; it does not change results",
    "dataset_test_split": "prefine holds out a tenth of the prompts; or name `eval_data`",
    "dataset_streaming": "data is read once and kept as a table on disk",
    "dataset_text_field": "rename the column: the TRL row formats are read by their own names",
    "dataset_kwargs": "has no counterpart",
    "ignore_bias_buffers": "has no counterpart",
    "shuffle_dataset": "rows are drawn in a random order that follows from `seed`",
    "packing": "has no effect on results; `layout` says how rows are laid out",
    "packing_strategy": "has no effect on results; `layout` says how rows are laid out",
    "eval_packing": "has no effect on results; `layout` says how rows are laid out",
    "padding_free": "has no effect on results; `layout` says how rows are laid out",
    "pad_to_multiple_of": "has no effect on results",
    "padding_value": "padding is masked, so its value has no effect",
    "pad_token": "padding is masked, so its token has no effect",
    "eos_token": "the tokenizer's own is used; save the tokenizer with another to change it",
    "precompute_ref_batch_size": "has no effect on results",
    "completion_only_loss": "responses alone are scored, always",
    "assistant_only_loss": "responses alone are scored, always",
    "generate_during_eval": "has no counterpart in a training run",
    "is_encoder_decoder": "models are decoders",
    "max_prompt_length": "only whole rows have a limit: `max_length`",
    "max_completion_length": "a response is never cut; `max_length` limits whole rows",
    "lora_dropout": "adapters have no dropout, so that log-ratios start at 0",
    "lora_target_parameters": "has no counterpart",
    "lora_modules_to_save": "the head of a reward model is always trained and saved",
    "lora_task_type": "follows from the objective",
    "use_rslora": "has no counterpart",
    "use_dora": "has no counterpart",
    "load_in_8bit": "weights are not quantised",
    "load_in_4bit": "weights are not quantised",
    "bnb_4bit_quant_type": "weights are not quantised",
    "bnb_4bit_quant_storage": "weights are not quantised",
    "use_bnb_nested_quant": "weights are not quantised",
    "output_router_logits": "has no counterpart",
}
"""Keys without a counterpart, and why none is missed."""

TRAINING = {"num_train_epochs": 3, "warmup_steps": 0}
"""Defaults of `transformers` that a run of prefine's does not have."""

SYNC = {"ref_model_sync_steps": 512, "ref_model_mixup_alpha": 0.6}
"""Defaults of TRL for a reference that follows the policy."""


@dataclass
class Translation:
    """What a configuration becomes.

    Attributes:
        config: Keys of `run.yaml`, nested.
        notes: Key of TRL -> what became of it, for each key that was not simply carried over.
    """

    config: dict[str, Any] = field(default_factory=dict[str, Any])
    notes: dict[str, str] = field(default_factory=dict[str, str])

    def put(self, key: str, value: Any) -> None:
        """Set a dotted key."""
        self.config = override(self.config, {key: value})


def translate(values: Values, method: str = "auto") -> Translation:
    """Translate a configuration of TRL's command line or of its config classes.

    Args:
        values: Keys and values, as TRL reads them from YAML.
        method: One of `METHODS`, or `auto` to tell it from keys that only one trainer has.

    Raises:
        ConfigError: If `method` is unknown, or cannot be told, or a loss has no counterpart.

    Example:
        >>> found = translate({"loss_type": "ipo", "beta": 0.2, "learning_rate": 1e-6,
        ...                    "trust_remote_code": True}, method="dpo")
        >>> found.config["objective"], found.config["options"]
        ('ipo', {'tau': 0.2})
        >>> found.config["training"]
        {'num_train_epochs': 3, 'warmup_steps': 0, 'learning_rate': 1e-06}
        >>> found.notes
        {'trust_remote_code': 'prefine never runs code that comes with a model'}
    """
    method = _method(values) if method == "auto" else method
    if method not in LOSSES:
        raise ConfigError(f"`method` must be auto or one of {', '.join(METHODS)}, got {method!r}.")
    loss = LOSSES[method](values)
    made = Translation(notes=loss.notes)
    made.put("objective", loss.objective)
    for option, value in loss.options.items():
        made.put(f"options.{option}", value)
    for key, value in (TRAINING | {"learning_rate": DEFAULTS[method]["learning_rate"]}).items():
        made.put(f"training.{key}", value)
    read = (DEFAULTS[method].keys() - {"learning_rate"}) | _shared(values, made)
    for key, value in values.items():
        if key not in read:
            _carry(key, value, made)
    return made


def _method(values: Values) -> str:
    told = {TELLING[key] for key in values if key in TELLING}
    told |= {
        method
        for method, losses in TELLING_LOSSES.items()
        if str(values.get("loss_type")) in losses
    }
    if len(told) == 1:
        return told.pop()
    raise ConfigError(
        "The keys do not tell which of TRL's trainers this is for. Pass --method: "
        f"{', '.join(METHODS)}."
    )


def _shared(values: Values, made: Translation) -> set[str]:
    """Keys of every trainer that have a meaning of their own here."""
    read = {key for key in values if key in ADAPTERS or key == "use_peft"}
    if values.get("use_peft"):
        made.put("lora", {})
        for key, option in ADAPTERS.items():
            if values.get(key) is not None:
                made.put(option, values[key])
        if values.get("lora_target_modules") is None:
            made.notes["lora_target_modules"] = (
                "every linear layer gets an adapter; TRL leaves the choice to peft, which knows "
                "some models' names, mostly q_proj and v_proj"
            )
    elif read - {"use_peft"}:
        made.notes |= {key: "is read only with use_peft" for key in sorted(read - {"use_peft"})}
    if "truncation_mode" in values:
        made.put("truncate", "prompt_left")
        made.notes["truncation_mode"] = (
            "truncate=prompt_left: TRL cuts what comes last, the response; prefine cuts prompts"
        )
    if "precompute_ref_log_probs" in values:
        made.notes["precompute_ref_log_probs"] = "reference scores are always cached (reference)"
    sync = {"ref_model_sync_steps": "every", "ref_model_mixup_alpha": "mix"}
    if values.get("sync_ref_model"):
        made.put("reference_update", {name: SYNC[key] for key, name in sync.items()})
    for key in sync.keys() & values.keys():
        if values.get("sync_ref_model"):
            made.put(f"reference_update.{sync[key]}", values[key])
        else:
            made.notes[key] = "is read only with sync_ref_model"
    own = {"truncation_mode", "precompute_ref_log_probs", "sync_ref_model"}
    return read | own | sync.keys()


def _carry(key: str, value: Any, made: Translation) -> None:
    from transformers import TrainingArguments

    if key in MOVED:
        made.put(MOVED[key], value)
    elif key in NAMED:
        made.notes[key] = NAMED[key]
    elif key in RENAMED:
        made.notes[key] = f"transformers 5 has {RENAMED[key]} instead"
    elif key in TrainingArguments.__dataclass_fields__:
        made.put(f"training.{key}", value)
    else:
        made.notes[key] = "is no key of TRL 1.16 or transformers 5 that prefine knows"
