"""The second set of adapters of a model, what the two minimise, and where there can be none."""

import copy
import os
from typing import TYPE_CHECKING, Any

from torch import nn

from prefine.adapters import SequenceReward
from prefine.adapters.text_adapter import TextAdapter
from prefine.errors import ConfigError
from prefine.objectives.chase import TWIN, chasing
from prefine.objectives.declare import Loss, Spec, spec
from prefine.training.distributed import uses_fsdp

if TYPE_CHECKING:
    from prefine.training.blocks import ChaseConfig
    from prefine.training.config import RunConfig

ADAPTERS = ("default", TWIN)
"""Names of the two in the model. A checkpoint holds the second in a folder of its own."""

ABOUT = (
    "two sets of adapters learn: every row is computed forward and backward for both, and once "
    "more forward, so a step takes over twice the time of one; estimates are of one"
)
"""What a run's header says of a chase."""


def add_twin(model: Any) -> Any:
    """Give a PEFT model a second set of adapters like its first, which learns, too."""
    model.add_adapter(TWIN, copy.deepcopy(model.peft_config[ADAPTERS[0]]))
    for part in sides_of(model):
        for parameter in part:
            parameter.requires_grad_(True)
    return model


def sides_of(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Return the parameters of either set of adapters, in the same order.

    Raises:
        ConfigError: If the model has not both.
    """
    named = [(name.split("."), p) for name, p in model.named_parameters() if ".lora_" in name]
    first, second = ([p for parts, p in named if name in parts] for name in ADAPTERS)
    if not first or len(first) != len(second):
        raise ConfigError(
            f"A chase needs two sets of adapters on one base, but the model has {len(first)} and "
            f"{len(second)} parameters in them. Make the second one with `add_twin`."
        )
    return first, second


def chased(objective: Loss, chase: "ChaseConfig") -> tuple[Loss, Loss]:
    """Return what the fast and the slow side minimise."""
    how: dict[str, Any] = {"alpha": chase.alpha, "beta": chase.beta}
    return chasing(objective, role="fast", **how), chasing(objective, role="slow", **how)


def chased_formula(objective: Loss, chase: "ChaseConfig") -> str:
    """Say what the two minimise."""
    fast, slow = (spec(loss).formula for loss in chased(objective, chase))
    return f"{fast} (fast); {slow} (slow)"


def refuse_chase(config: "RunConfig", objective: Loss, declared: Spec, adapter: Any) -> None:
    """Refuse runs in which two sets of adapters cannot chase each other.

    Raises:
        ConfigError: If there are no adapters, or another part of the run knows one policy alone.
        ObjectiveError: If the objective does not take pairs or is stateful.
    """
    assert config.chase is not None
    if isinstance(adapter, SequenceReward) or not isinstance(adapter, TextAdapter):
        raise ConfigError(
            "chase: two policies are compared by what they give two texts; reward models and "
            "models of pictures have no such margin. Train a language model's policy, or remove "
            "the block."
        )
    if config.lora is None:
        raise ConfigError(
            "chase trains two sets of LoRA adapters on one base, so that both are held in little "
            "more than the memory of one. Add `lora` (--lora, or --set lora.r=16)."
        )
    chased(objective, config.chase)
    if declared.coupled:
        raise ConfigError(
            "chase: this objective compares the rows of a step with each other, and has no loss of "
            "a row that the chase could be added to. Take a row-wise one, such as dpo."
        )
    others = {
        "mixing": (config.mixing, "weighs sources by the gradient of one policy"),
        "reference_update": (config.reference_update, "moves the reference towards one policy"),
        "rationale": (config.rationale, "adds a term that has no margin"),
        "degrees": (config.degrees, "adds a term that has no margin"),
        "rows.instructions": (config.rows.instructions, "adds rows that are no plain pairs"),
        "rows.ties=keep": (config.rows.ties == "keep", "keeps rows in which nobody can lead"),
    }
    for name, (given, why) in others.items():
        if given:
            raise ConfigError(f"chase: {name} {why}, and here are two. Remove one of the blocks.")
    optim = str(config.training.get("optim", ""))
    if "lomo" in optim or optim.endswith("layerwise"):
        raise ConfigError(
            f"training.optim={optim} steps inside the backward pass, where both sides would have "
            "one rate. Take another optimizer, such as adamw_torch."
        )
    if config.training.get("load_best_model_at_end"):
        raise ConfigError(
            "training.load_best_model_at_end puts one set of adapters back, and not which of the "
            "two was fast. Remove it, or take stop_early, which goes back with both."
        )
    if uses_fsdp() or int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise alone()


def alone() -> ConfigError:
    """Return what is said where there are several processes."""
    return ConfigError(
        "chase runs on one process: which of the two is fast is decided there. Start without "
        "`accelerate launch`, or with one process."
    )
