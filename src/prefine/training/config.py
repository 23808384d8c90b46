"""A run's configuration: the keys of `run.yaml`, of `--set`, and of the flags are the same."""

import difflib
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError, field_validator

from prefine.errors import ConfigError
from prefine.training.blocks import (
    ChaseConfig,
    DegreesConfig,
    DenoisingConfig,
    LoraConfig,
    MixingConfig,
    RationaleConfig,
    ReferenceUpdate,
    StopEarlyConfig,
    StreamingConfig,
    Strict,
)
from prefine.training.presets import expand


class DataConfig(Strict):
    """How records are read and turned into rows.

    Attributes:
        format: Name of a reader, or `auto`.
        split: Split of a Hub data set.
        config: Configuration of a Hub data set.
        revision: Branch, tag or commit of a Hub data set.
        max_rejects: Share of rows that may be unreadable.
        pairs: How pairs are made from rankings and ratings.
        votes: What becomes of several votes on one pair.
        ties: Whether ties are dropped or kept.
        min_gap: Smallest difference in rating that makes a pair.
        aspect: Which aspect is compared; null for every one.
        threshold: Smallest rating of a desirable response (points).
        captions: `swap` sets each picture's own caption against one with a word exchanged; null
            compares pictures.
        instructions: Weights of rows that are added to each pair: `intra` sets a response under
            instructions that it obeys against the same under others, `inter` sets margins against
            each other (margin_dpo and margin_reward alone); null adds none.
        ignore: Fields that may stay unread, e.g. `[margin]`.
        keep_columns: Columns of a file that its format does not know, kept in `meta`.
        rename: Column of the file -> the name that the format has for it.
        license: Licence of records whose source names none.
    """

    format: str = "auto"
    split: str | None = None
    config: str | None = None
    revision: str | None = None
    max_rejects: float = Field(default=0.01, ge=0, le=1)
    pairs: Literal["best_vs_worst", "best_vs_random", "adjacent", "all", "gap"] = "best_vs_worst"
    votes: Literal["majority", "soft", "each"] = "majority"
    ties: Literal["drop", "keep"] = "drop"
    min_gap: float = Field(default=0.0, ge=0)
    aspect: str | None = "overall"
    threshold: float | None = None
    captions: Literal["swap"] | None = None
    instructions: dict[Literal["intra", "inter"], float] | None = None
    ignore: list[Literal["prob", "margin", "tie"]] = Field(default_factory=list)
    keep_columns: list[str] = Field(default_factory=list)
    rename: dict[str, str] = Field(default_factory=dict)
    license: str | None = None


class RunConfig(Strict):
    """Everything a training run depends on.

    Attributes:
        objective: Name of an objective, `reward`, or `module:function`.
        options: Options of the objective, e.g. `{beta: 0.1}`.
        model: Hub name or folder.
        revision: Branch, tag or commit of the model.
        data: Hub name, file or folder.
        eval_data: Held-out data; by default `holdout` of the data's prompts.
        holdout: Share of prompts held out where there is no `eval_data`.
        out: The run's folder.
        reference: `auto`, `none`, `cached`, `adapter_off`, `module`, or a model's name.
        reference_update: How the reference follows the policy; null keeps it still.
        template: Chat template: `auto`, a built-in, or a file.
        max_length: Longest prompt plus response, tokens.
        truncate: What happens to longer rows.
        layout: `packed` rows compute each prompt once for all its responses; `padded` rows do not;
            `auto` packs where a check of the model finds both equal.
        token_budget: Most tokens computed at once on a device; null for no limit. A micro-batch
            with more is computed in parts, which changes memory, never the loss.
        offload_activations: Whether activations wait for the backward pass in the host's memory.
        dtype: Precision of the weights.
        lora: Adapters, or null for full fine-tuning.
        head_only: Whether a reward model's head alone is trained. Its trunk then runs once over
            every response, before training.
        stop_early: When to stop and go back to an earlier step; null for never.
        seed: Seed of everything random.
        rows: How data is read.
        mixing: How sources of the data are mixed; null takes rows as they come.
        denoising: How a picture model is scored; null for a language model.
        rationale: Also learn why people prefer the chosen response, from the reasons in the data;
            null does not.
        chase: A second, slower set of adapters that learns beside the first; null for one alone.
        degrees: Also learn how damaged a response is, from versions of it; null does not.
        streaming: The data are trajectories that read and write in turn; null for plain texts.
        training: Passed to `transformers.TrainingArguments`.
    """

    objective: str
    model: str
    data: str
    out: str
    options: dict[str, Any] = Field(default_factory=dict)
    revision: str | None = None
    eval_data: str | None = None
    holdout: float = Field(default=0.1, ge=0, lt=1)
    reference: str = "auto"
    reference_update: ReferenceUpdate | None = None
    template: str = "auto"
    max_length: int | None = Field(default=1024, ge=2)
    truncate: Literal["prompt_left", "error", "drop"] = "prompt_left"
    layout: Literal["auto", "packed", "padded"] = "auto"
    token_budget: int | None = Field(default=16384, ge=1)
    offload_activations: bool = False
    dtype: Literal["float32", "bfloat16", "float16", "float64", "auto"] = "float32"
    lora: LoraConfig | None = None
    head_only: bool = False
    stop_early: StopEarlyConfig | None = None
    seed: int = 0
    rows: DataConfig = Field(default_factory=DataConfig)
    mixing: MixingConfig | None = None
    denoising: DenoisingConfig | None = None
    rationale: RationaleConfig | None = None
    chase: ChaseConfig | None = None
    degrees: DegreesConfig | None = None
    streaming: StreamingConfig | None = None
    training: dict[str, Any] = Field(default_factory=dict)

    @field_validator("objective")
    @classmethod
    def _one_spelling(cls, name: str) -> str:
        """Names of objectives may be written with dashes."""
        return name if ":" in name else name.replace("-", "_")


BLOCKS: dict[tuple[Any, ...], type[BaseModel]] = {
    (): RunConfig,
    ("rows",): DataConfig,
    ("lora",): LoraConfig,
    ("reference_update",): ReferenceUpdate,
    ("mixing",): MixingConfig,
    ("denoising",): DenoisingConfig,
    ("stop_early",): StopEarlyConfig,
    ("rationale",): RationaleConfig,
    ("chase",): ChaseConfig,
    ("degrees",): DegreesConfig,
    ("streaming",): StreamingConfig,
}
"""Where a key stands -> what keys there are."""

RENAMED = {
    "warmup_ratio": "warmup_steps (a float below 1 is a share)",
    "group_by_length": "train_sampling_strategy",
    "evaluation_strategy": "eval_strategy",
    "tokenizer": "nothing: the tokenizer comes with the model",
    "logging_dir": "the tracker's own setting",
    "save_safetensors": "nothing: models are always saved as safetensors",
    "overwrite_output_dir": "--resume, or another --out",
    "gradient_checkpointing_steps": "gradient_checkpointing",
}
"""Arguments that transformers 5 renamed or dropped, and what to use."""

OURS = {
    "output_dir": "out",
    "seed": "seed",
    "resume_from_checkpoint": "--resume",
    "remove_unused_columns": "nothing: unused columns are an error unless rows.ignore names them",
    "load_best_model_at_end": "",
}


def parse(values: Mapping[str, Any]) -> RunConfig:
    """Validate a configuration.

    Raises:
        ConfigError: Naming the key, what is wrong with it, and the nearest known key.

    Example:
        >>> parse({"objective": "dpo", "model": "m", "data": "d", "out": "o", "maxlength": 1})
        Traceback (most recent call last):
        ...
        prefine.errors.ConfigError: maxlength: there is no such key. Did you mean max_length?
    """
    try:
        config = RunConfig.model_validate(expand(values))
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(e) for e in error.errors())) from None
    check_training(config.training)
    for key, value in config.training.items():
        if key.endswith("_strategy") and value is False:  # YAML 1.1 reads `no` as false
            config.training[key] = "no"
    return config


def check_training(values: Mapping[str, Any]) -> None:
    """Check the keys of the `training:` block.

    Raises:
        ConfigError: For a key that transformers does not know, with the nearest or the new name.
    """
    from transformers import TrainingArguments

    known = {f.name for f in fields(TrainingArguments)}
    for key in values:
        if OURS.get(key):
            raise ConfigError(f"training.{key}: set {OURS[key]} instead.")
        if key in known:
            continue
        if key in RENAMED:
            raise ConfigError(
                f"training.{key}: transformers 5 has no such argument; use {RENAMED[key]}."
            )
        raise ConfigError(f"training.{key}: there is no such argument.{_nearest(key, known)}")


def override(values: dict[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Set dotted keys, e.g. `{"training.learning_rate": 1e-5}`, in nested values.

    Example:
        >>> override({"options": {"beta": 0.1}}, {"options.beta": 0.2, "seed": 1})
        {'options': {'beta': 0.2}, 'seed': 1}
    """
    merged: dict[str, Any] = {
        k: dict(v) if isinstance(v, Mapping) else v for k, v in values.items()
    }
    for dotted, value in settings.items():
        *path, last = dotted.split(".")
        node = merged
        for name in path:
            child = node.get(name)
            if child is None:
                child = node[name] = {}
            if not isinstance(child, dict):
                raise ConfigError(f"{dotted}: {name} is a single value, so it has no {last}.")
            node = child
        node[last] = value
    return merged


def _explain(error: Any) -> str:
    where = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        name, inside = error["loc"][-1], error["loc"][:-1]
        model = BLOCKS.get(inside, RunConfig)
        return f"{where}: there is no such key.{_nearest(str(name), set(model.model_fields))}"
    if error["type"] == "missing":
        flag = f"--{where}" if len(error["loc"]) == 1 else f"--set {where}=..."
        return f"{where}: this is needed. Pass {flag}, or write it into the --config file."
    if error["type"] == "model_type":
        keys = ", ".join(BLOCKS[error["loc"]].model_fields)
        return (
            f"{where}: this is a block of keys, such as --set {where}.{keys.split(', ')[0]}=..., "
            f"got {error['input']!r}. Its keys: {keys}."
        )
    return f"{where}: {error['msg']}, got {error['input']!r}."


def _nearest(name: str, known: set[str]) -> str:
    near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.5)
    return f" Did you mean {near[0]}?" if near else f" Known: {', '.join(sorted(known))}."
