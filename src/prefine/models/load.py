"""Load models and tokenizers by Hub name or folder, safely."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prefine.errors import ConfigError
from prefine.runs import RunFolder

logger = logging.getLogger("prefine.models")

DTYPES = ("float32", "bfloat16", "float16", "float64", "auto")
SAFE = {"trust_remote_code": False}

Starts = tuple[str, ...]

LEFT_BEHIND = ("lm_head.",)
"""What a reward model that is made from a policy has no use for."""


def load_tokenizer(name: str, revision: str | None = None) -> Any:
    """Load a tokenizer; padding stands on the right."""
    from transformers import AutoTokenizer

    tokenizer = _load(AutoTokenizer, name, revision=revision, **SAFE)
    tokenizer.padding_side = "right"
    return tokenizer


def load_policy(name: str, *, dtype: str = "float32", revision: str | None = None) -> Any:
    """Load a causal language model; a LoRA folder comes merged into its base.

    Args:
        name: Hub name or folder.
        dtype: `float32`, `bfloat16`, `float16`, `float64`, or `auto` for the checkpoint's own.
        revision: Branch, tag or commit on the Hub.

    Raises:
        ConfigError: If it cannot be loaded, or would get weights made up at random; the message
            says why.
    """
    from transformers import AutoModelForCausalLM

    model = _load_model(AutoModelForCausalLM, name, dtype, revision)
    model.config.use_cache = False
    return model


def load_at_hand(name: str) -> Any:
    """Load a causal language model onto the accelerator, where there is one."""
    import torch

    model = load_policy(name)
    if torch.accelerator.is_available():
        model = model.to(torch.accelerator.current_accelerator())
    return model


def model_name(model: str) -> str:
    """Return a model as records name it, without the path of any machine.

    Example:
        >>> model_name("org/model")
        'org/model'
    """
    return Path(model).name if Path(model).exists() else model


def load_reward_model(
    name: str,
    *,
    dtype: str = "float32",
    revision: str | None = None,
    tokenizer: Any = None,
    new_head: bool = True,
) -> Any:
    """Load a scalar reward model, or make one from a causal language model and a new head.

    Args:
        name: Hub name or folder of either.
        dtype: As for `load_policy`.
        revision: Branch, tag or commit on the Hub.
        tokenizer: Its pad id is stored in the configuration, so that other libraries pool at the
            same token.
        new_head: Whether a model without a head gets a random one, to be trained.

    Raises:
        ConfigError: If it cannot be loaded, or has no head and `new_head` is false.
    """
    from transformers import AutoModelForSequenceClassification

    head = ("score.",) if new_head else ()
    model = _load_model(
        AutoModelForSequenceClassification, name, dtype, revision, made_up=head, num_labels=1
    )
    model.config.use_cache = False
    if tokenizer is not None:
        pad = tokenizer.pad_token_id
        model.config.pad_token_id = tokenizer.eos_token_id if pad is None else pad
    return model


def _load_model(
    auto: Any, name: str, dtype: str, revision: str | None, made_up: Starts = (), **more: Any
) -> Any:
    """Load weights; those missing from the files may be random only if named in `made_up`."""
    import torch

    if dtype not in DTYPES:
        raise ConfigError(f"`dtype` must be one of {', '.join(DTYPES)}, got {dtype!r}.")
    kind = "auto" if dtype == "auto" else getattr(torch, dtype)
    more = {"dtype": kind, "use_safetensors": True, **SAFE, **more}
    if (Path(name) / "adapter_config.json").is_file():
        return _merged(auto, Path(name), made_up, more)
    return _complete(auto, name, made_up, revision=revision, **more)


def _merged(auto: Any, folder: Path, made_up: Starts, more: dict[str, Any]) -> Any:
    from peft import PeftConfig, PeftModel

    config = PeftConfig.from_pretrained(str(folder))
    brought = tuple(f"{name}." for name in getattr(config, "modules_to_save", None) or ())
    base = _complete(auto, str(config.base_model_name_or_path), (*made_up, *brought), **more)
    if made_up and config.task_type == "CAUSAL_LM":
        config.task_type = None  # a trunk is taken over, and it writes no words
    model = PeftModel.from_pretrained(base, str(folder), config=config)
    merged: Any = model.merge_and_unload()  # type: ignore[operator]
    return merged.requires_grad_(True)  # peft froze the base, and a loaded model may be trained


def _complete(auto: Any, name: str, made_up: Starts, **options: Any) -> Any:
    model, found = _load(auto, name, output_loading_info=True, **options)
    absent = sorted(key for key in found["missing_keys"] if not key.startswith(made_up))
    if absent:
        raise ConfigError(
            f"model {name!r}: its files hold no {', '.join(absent[:3])}, and random numbers in "
            f"their place would mean nothing. It was saved as another kind of model than "
            f"{type(model).__name__}: name one of that kind, or train one."
        )
    unused = sorted(key for key in found["unexpected_keys"] if not key.startswith(LEFT_BEHIND))
    if unused:
        logger.warning(
            "model %r: %s makes no use of %d of the weights in its files: %s.",
            name,
            type(model).__name__,
            len(unused),
            ", ".join(unused[:3]),
        )
    return model


def _load(auto: Any, name: str, **options: Any) -> Any:
    try:
        with _quietly():
            return auto.from_pretrained(name, **options)
    except (OSError, ValueError, RuntimeError) as error:
        run = RunFolder(name)
        if run.config_file.is_file() and run.model.is_dir():
            raise ConfigError(
                f"model {name!r}: this is the folder of a run. Its model is in {run.model}."
            ) from None
        where = "folder" if Path(name).exists() else "name (no such folder here)"
        raise ConfigError(f"model {name!r}: this {where} could not be loaded. {error}") from error


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep back transformers' bar and its table of keys, of which `_complete` says what matters."""
    from transformers.utils import logging as their_logging

    verbosity, bars = their_logging.get_verbosity(), their_logging.is_progress_bar_enabled()
    their_logging.set_verbosity_error()
    their_logging.disable_progress_bar()
    try:
        yield
    finally:
        their_logging.set_verbosity(verbosity)
        if bars:
            their_logging.enable_progress_bar()
