"""The cases of the benchmark, and what each must reach."""

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Case:
    """One piece of work that both sides do.

    Attributes:
        preset: The model's shape (see `world.PRESETS`).
        task: `dpo`, `reward` or `sft` train; `score` scores without gradient.
        against: The other side: `trl`; `unshared`, prefine with every prompt repeated before each
            of its responses; `padded`, transformers' own forward pass on padded batches;
            `diffusers`, the step of its Diffusion-DPO example.
        prompt: Mean length of prompts, tokens; lengths vary evenly by half. A picture's caption has
            this length exactly.
        response: Mean length of responses, EOS included; places of a picture's latents.
        prompts: Prompts of an optimizer step.
        responses: Responses of a prompt. For more than two, TRL is given every pair as a row.
        reference: `cached`, or `separate`: it runs in every step, as a second model or, with
            adapters, as this one with its adapters off.
        checkpointing: Whether activations are computed again in the backward pass, on both sides.
        lora: Whether adapters are trained.
        precision: `float32`; `mixed`, float32 weights under bfloat16 autocast; or `bfloat16`,
            weights and optimizer state, too.
        shipped: Whether each side takes its own defaults instead: TRL a second model and
            checkpointing, prefine cached scores and none.
        tuned: Whether both processes get the settings of `engine.tune`.
        device: `cpu` or `cuda`.
        steps: Steps that are not timed before those that are.
    """

    preset: str = "d4k"
    task: Literal["dpo", "reward", "sft", "score"] = "dpo"
    against: Literal["trl", "unshared", "padded", "diffusers"] = "trl"
    prompt: int = 512
    response: int = 256
    prompts: int = 1
    responses: int = 2
    reference: Literal["cached", "separate"] = "cached"
    checkpointing: bool = False
    lora: bool = False
    precision: Literal["float32", "mixed", "bfloat16"] = "float32"
    shipped: bool = False
    tuned: bool = True
    device: Literal["cpu", "cuda"] = "cpu"
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
        speed: Least ratio of seconds a step, the other side's by ours.
        memory: Largest ratio of training memory, ours by the other side's.
        products: Least share of our step that its products of matrices would take alone.
        utilisation: Least share of the measured peak rate, counting necessary FLOPs alone.
    """

    speed: float | None = None
    memory: float | None = None
    products: float | None = None
    utilisation: float | None = None

    def to_json(self) -> dict[str, float | None]:
        """Return the fields as JSON values."""
        return asdict(self)


LIGHT, HEAVY, WIDE = (Case(preset=name) for name in ("d4k", "s32k", "s151k"))
SHORT = replace(LIGHT, response=64)
SCORE = replace(SHORT, task="score", against="padded", responses=4)

PICTURES = Case(
    "unet", against="diffusers", prompt=77, response=1024, prompts=4, lora=True,
    reference="separate", tuned=False,
)  # fmt: skip

ON_CPU: dict[str, tuple[Case, Goal]] = {
    "pairs, light": (LIGHT, Goal(1.5, 0.7, 0.8)),
    "pairs, heavy": (HEAVY, Goal(2.1, 0.45, 0.8)),
    "as shipped, light": (replace(LIGHT, shipped=True, tuned=False), Goal(2.7)),
    "as shipped, heavy": (replace(HEAVY, shipped=True, tuned=False), Goal()),
    "long prompts, light": (replace(LIGHT, prompt=1024, response=64), Goal(1.9)),
    "long prompts, heavy": (replace(HEAVY, prompt=1024, response=64), Goal(3.0)),
    "longer prompts": (replace(LIGHT, prompt=2048), Goal()),
    "vocabulary of 151k": (replace(WIDE, response=64), Goal(3.0, 0.5)),
    "short responses": (SHORT, Goal()),
    "lists of 4, light": (replace(SHORT, responses=4), Goal(9.0, 0.15)),
    "reward, short": (replace(SHORT, task="reward"), Goal(1.6)),
    "reward, long": (replace(LIGHT, task="reward"), Goal(1.4)),
    "adapters": (replace(LIGHT, lora=True), Goal(1.5)),
    "adapters, switched off": (replace(LIGHT, lora=True, reference="separate"), Goal()),
    "separate reference": (replace(LIGHT, reference="separate"), Goal()),
    "checkpointing": (replace(LIGHT, checkpointing=True), Goal()),
    "bfloat16": (replace(LIGHT, precision="mixed"), Goal()),
    "little to share": (replace(LIGHT, prompt=64, prompts=2), Goal(1.0)),
    "short, light": (replace(LIGHT, prompt=64, response=64, prompts=2), Goal()),
    "imitation": (replace(LIGHT, task="sft", responses=1, prompts=2), Goal(1.0)),
    "lists of 8, unshared": (replace(SHORT, responses=8, against="unshared"), Goal(4.2)),
    "pairs, unshared": (replace(LIGHT, against="unshared"), Goal()),
    "little to share, unshared": (
        replace(LIGHT, prompt=64, prompts=2, against="unshared"), Goal(),
    ),
    "scoring, light": (SCORE, Goal(3.0)),
    "scoring, heavy": (replace(SCORE, preset="s32k"), Goal()),
    "pictures": (PICTURES, Goal()),
}  # fmt: skip
"""Name -> case and goal; around `pairs, light` one thing changes at a time."""

BIG = Case(prompts=8, tuned=False, device="cuda")
MODELS = {
    "1B": replace(BIG, preset="m1b", precision="mixed"),
    "1B, adapters": replace(BIG, preset="m1b", precision="bfloat16", lora=True),
    "8B, adapters": replace(BIG, preset="m8b", precision="bfloat16", lora=True),
    "8B": replace(BIG, preset="m8b", precision="bfloat16"),
}
"""Cases of P512 R256 K2 on a GPU, by model and by what is trained."""


def _on_cuda() -> dict[str, tuple[Case, Goal]]:
    found: dict[str, tuple[Case, Goal]] = {}
    for name, case in MODELS.items():
        long = replace(case, prompt=1024, response=512, prompts=4)
        eight = replace(case, responses=8, prompts=4, against="unshared")
        long_eight = replace(eight, prompt=1024, response=512, prompts=2)
        best = Goal(1.4, utilisation=0.45)
        found[f"{name}: pairs"] = (case, best)
        found[f"{name}: long pairs"] = (long, best)
        found[f"{name}: as shipped"] = (replace(case, shipped=True), Goal(2.2))
        found[f"{name}: lists of 8"] = (eight, Goal())
        found[f"{name}: long lists of 8"] = (long_eight, Goal())
    return found


ON_CUDA = _on_cuda()

CASES = {**ON_CPU, **ON_CUDA}

QUICK = ("pairs, light", "pairs, heavy", "reward, short", "little to share")
"""Cases of `--quick`."""


def described(name: str) -> str:
    """Return a line on a case: its name, what differs from the default, and its goal."""
    case, goal = CASES[name]
    plain = Case().to_json()
    fields = {k: v for k, v in case.to_json().items() if v != plain[k] or k in ALWAYS}
    asked = {k: v for k, v in goal.to_json().items() if v is not None}
    said = ", ".join(f"{k}={v}" for k, v in fields.items())
    goals = ", ".join(f"{k} {'<=' if k == 'memory' else '>='} {v:g}" for k, v in asked.items())
    return f"{name}: {said}" + (f"; goal: {goals}" if goals else "")


ALWAYS = ("preset", "prompt", "response", "responses")
"""Fields that a case's line always has."""
