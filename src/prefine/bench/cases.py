"""The cases of the benchmark, and what each must reach."""

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Case:
    """One piece of work that both sides do.

    Attributes:
        preset: The model's shape (see `world.PRESETS`).
        task: `dpo` or `reward`.
        prompt: Mean length of prompts, tokens; lengths vary evenly by half.
        response: Mean length of responses, EOS included.
        prompts: Prompts of an optimizer step.
        responses: Responses of a prompt. For more than two, TRL is given every pair as a row.
        reference: `cached`, or `separate`: a second model runs in every step.
        checkpointing: Whether activations are computed again in the backward pass, on both sides.
        lora: Whether adapters are trained.
        shipped: Whether each side takes its own defaults instead: TRL a second model and
            checkpointing, prefine cached scores and none.
        tuned: Whether both processes get the settings of `engine.tune`.
        steps: Steps that are not timed before those that are.
    """

    preset: str = "d4k"
    task: Literal["dpo", "reward"] = "dpo"
    prompt: int = 512
    response: int = 256
    prompts: int = 1
    responses: int = 2
    reference: Literal["cached", "separate"] = "cached"
    checkpointing: bool = False
    lora: bool = False
    shipped: bool = False
    tuned: bool = True
    steps: int = 2

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self)

    def of(self, side: str) -> "Case":
        """Return the case as one side runs it."""
        if not self.shipped or side == "prefine":
            return self
        return replace(self, reference="separate", checkpointing=True)


@dataclass(frozen=True, slots=True)
class Goal:
    """What a case must reach; None where nothing is asked.

    Attributes:
        speed: Least ratio of CPU seconds a step, TRL's by ours.
        memory: Largest ratio of training memory, ours by TRL's.
    """

    speed: float | None = None
    memory: float | None = None


LIGHT, HEAVY, WIDE = (Case(preset=name) for name in ("d4k", "s32k", "s151k"))
SHIPPED = replace(LIGHT, shipped=True, tuned=False)

CASES: dict[str, tuple[Case, Goal]] = {
    "pairs, light": (LIGHT, Goal(1.5, 0.7)),
    "pairs, heavy": (HEAVY, Goal(2.1, 0.45)),
    "as shipped, light": (SHIPPED, Goal(2.7)),
    "long prompts, light": (replace(LIGHT, prompt=1024, response=64), Goal(1.9)),
    "long prompts, heavy": (replace(HEAVY, prompt=1024, response=64), Goal(3.0)),
    "vocabulary of 151k": (replace(WIDE, response=64), Goal(3.0, 0.5)),
    "lists of 4, light": (replace(LIGHT, response=64, responses=4), Goal(9.0, 0.15)),
    "reward, short": (replace(LIGHT, task="reward", response=64), Goal(1.6)),
    "reward, long": (replace(LIGHT, task="reward"), Goal(1.4)),
    "adapters": (replace(LIGHT, lora=True), Goal(1.5)),
    "little to share": (replace(LIGHT, prompt=64, prompts=2), Goal(1.0)),
    "short, light": (replace(LIGHT, prompt=64, response=64, prompts=2), Goal()),
    "checkpointing": (replace(LIGHT, checkpointing=True), Goal()),
    "longer prompts": (replace(LIGHT, prompt=2048), Goal()),
}
"""Name -> case and goal; around `pairs, light` one thing changes at a time."""

QUICK = ("pairs, light", "pairs, heavy", "reward, short", "little to share")
"""Cases of `--quick`."""
