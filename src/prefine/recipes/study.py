"""What a study of objectives asks: data, model, objectives, and the trials that each is given."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prefine.errors import ConfigError
from prefine.recipes.policy_numbers import MEANINGS

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Study:
    """What is compared, and how.

    Attributes:
        data: Records, or any format that `prefine train` reads.
        model: Where every run starts, and the reference.
        out: Folder of the study.
        objectives: Names.
        trials: Settings that each objective may try.
        seeds: Runs of each objective's best setting, with seeds of their own.
        rates: Smallest and largest learning rate.
        measure: What decides; `reward` where there is one, else `reward_accuracy`.
        reward: Reward model, or `module:function`, for what the policies answer.
        samples: Held-out prompts that every policy answers, for its KL and length.
        max_new_tokens: Longest answer.
        holdout: Share of prompts to choose settings on, and again as many for the final numbers.
        settings: Further keys of a run: `training`, `lora`, `max_length`, ...

    Raises:
        ConfigError: If a number makes no sense, or a key belongs to the study itself.
    """

    data: str
    model: str
    out: Path
    objectives: Sequence[str]
    trials: int = 6
    seeds: int = 5
    rates: tuple[float, float] = (1e-6, 1e-4)
    measure: str | None = None
    reward: str | None = None
    samples: int = 64
    max_new_tokens: int = 256
    holdout: float = 0.15
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        """Check what no run would."""
        if self.trials < 1 or self.seeds < 2:
            raise ConfigError(
                f"A study needs a trial or more and two seeds or more, got {self.trials} and "
                f"{self.seeds}: one seed says nothing of another."
            )
        if not 0 < self.holdout < 0.45:
            raise ConfigError(f"`holdout` must lie between 0 and 0.45, got {self.holdout}.")
        if self.decides not in MEANINGS or self.decides in ("kl", "length"):
            raise ConfigError(
                "`measure` must be reward, reward_accuracy or ranking_accuracy, got "
                f"{self.measure}."
            )
        if self.decides == "reward" and (self.reward is None or not self.samples):
            raise ConfigError("To decide by reward, name --reward and let prompts be answered.")
        own = {"objective", "options", "model", "data", "eval_data", "holdout", "out", "seed"}
        if taken := sorted(own & self.settings.keys()):
            raise ConfigError(f"{', '.join(taken)}: the study sets these itself.")
        if "learning_rate" in self.settings.get("training", {}):
            raise ConfigError("training.learning_rate is what is tried: give --rates.")

    @property
    def decides(self) -> str:
        """The measure that decides."""
        return self.measure or ("reward" if self.reward else "reward_accuracy")

    def identity(self) -> Json:
        """What must be the same when a study goes on."""
        return {
            "data": self.data, "model": self.model, "objectives": list(self.objectives),
            "trials": self.trials, "seeds": self.seeds, "rates": list(self.rates),
            "measure": self.decides, "reward": self.reward, "samples": self.samples,
            "max_new_tokens": self.max_new_tokens, "holdout": self.holdout,
            "settings": dict(self.settings),
        }  # fmt: skip
