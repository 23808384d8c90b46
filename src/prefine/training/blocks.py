"""Blocks of a run's configuration that stand under one key each."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from prefine.records.streams import READ


class Strict(BaseModel):
    """Unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True)


class LoraConfig(Strict):
    """LoRA adapters (Hu et al. 2021), as `peft.LoraConfig` names them.

    Attributes:
        r: Rank.
        alpha: Scale; the update is multiplied by alpha / r.
        target_modules: Names of the modules that get adapters, or `all-linear`.
    """

    r: int = Field(default=16, ge=1)
    alpha: float = Field(default=32, gt=0)
    target_modules: str | list[str] = "all-linear"


class ReferenceUpdate(Strict):
    """How the reference follows the policy (TR-DPO).

    Attributes:
        every: Optimizer steps between two moves.
        mix: How far it moves towards the policy, in (0, 1]; 1 replaces it.
    """

    every: int = Field(default=512, ge=1)
    mix: float = Field(default=0.6, gt=0, le=1)


class MixingConfig(Strict):
    """How sources of the data are mixed towards a small set of interest (DGA).

    Attributes:
        toward: That set: Hub name, file or folder, read as `rows` says. It is not trained on.
        by: Tag of a record that names its source.
        how: `weigh` takes every row once an epoch, at the weight of its source; `resample` draws
            the rows of each step by source, so that a row may come several times or never.
        every: Optimizer steps between two moves of the weights; one costs a forward and a
            backward pass over `rows` of each source and of the set.
        rows: Rows of each that are looked at.
        eta: Step of a move.
        decay: Of the moving average of the weights.
        floor: Smallest weight of a source.
    """

    toward: str
    by: str
    how: Literal["weigh", "resample"] = "weigh"
    every: int = Field(default=100, ge=1)
    rows: int = Field(default=32, ge=1)
    eta: float = Field(default=1.0, gt=0)
    decay: float = Field(default=0.9, ge=0, lt=1)
    floor: float = Field(default=1e-3, ge=0, lt=1)


class StopEarlyConfig(Strict):
    """When a run has gone too far (see `training.stop_rules`).

    Attributes:
        by: What tells: `loss`, that on held-out rows, which comes down no more; or `likelihood`,
            entropy and probability of the likeliest tokens, which fall while the margin grows.
        window: Evaluations over which it must.
    """

    by: Literal["loss", "likelihood"] = "loss"
    window: int = Field(default=5, ge=2)


class StreamingConfig(Strict):
    """A translator that reads and writes in turn (see `adapters.simultaneous`).

    Attributes:
        read: The token that asks to read. `sft` adds it to a model that lacks it.
    """

    read: str = Field(default=READ, pattern=r"^\S+$")


class RationaleConfig(Strict):
    """A term that explains each preference (see `objectives.rationale`).

    Attributes:
        gamma: Weight of the term; 0.001 is usual for the published sum.
        summed: Whether it is the published one, a logistic loss on the sum over tokens, in place of
            the mean.
    """

    gamma: float = Field(default=0.5, gt=0)
    summed: bool = False


class ChaseConfig(Strict):
    """Two sets of adapters that learn at two speeds and chase each other (OFS-DPO).

    Attributes:
        ratio: Rate of the slow set in shares of `training.learning_rate`.
        alpha: Share of the term by which the two pull on each other; 0 leaves two rates and the
            exchange of roles.
        beta: Strength of the difference of the two margins.
        every: Optimizer steps after which the set with the lower mean loss becomes the fast one.
    """

    ratio: float = Field(default=0.1, gt=0, le=1)
    alpha: float = Field(default=0.3, ge=0, lt=1)
    beta: float = Field(default=0.1, gt=0)
    every: int = Field(default=20, ge=1)


class DegreesConfig(Strict):
    """A term that tells how damaged a response is (see `training.degrees`).

    Attributes:
        weight: Of the term.
        steps: From the whole response to one without any of its key words.
        keys: Which words are taken out: the `rare` ones of the data, or as many at `random`.
        filler: Stands where a word was.
        learning_rate: Of the head, which begins at 0 and is thrown away.
    """

    weight: float = Field(default=0.1, gt=0)
    steps: int = Field(default=3, ge=1)
    keys: Literal["rare", "random"] = "rare"
    filler: str = "..."
    learning_rate: float = Field(default=1e-3, gt=0)

    @field_validator("filler")
    @classmethod
    def _seen(cls, filler: str) -> str:
        """What stands for nothing would make responses shorter, and length tell the degree."""
        if not filler.strip():
            raise ValueError("a filler must be seen, or the head would learn to count words")
        return filler


class DenoisingConfig(Strict):
    """How denoising models are scored (see `adapters.denoising`).

    Attributes:
        reduction: Whether squared errors are averaged over a sample's elements, or summed.
        noise: Whether the items of a row share their noise, each has its `own`, or each has what
            the policy would draw it from (`inverted`: `inversion_steps` + 1 passes more).
        inversion_steps: Steps of an inversion; of `inverted` noise alone.
        draws: Times and noises of a row in a step.
        fixed_draws: How many a row has over all epochs, so that reference scores can be cached;
            null for new ones in every epoch.
        eval_draws: Draws of a row when it is held out.
        show: Captions whose pictures the report shows, drawn before and after training.
        guidance: Scale of classifier-free guidance of those; null for the pipeline's own.
        size: Height and width of pictures, pixels; null for the model's own.
        density: How times are drawn; null for what the model was made with. Of flows alone.
        time_weight: Factor of the squared error at time t: `(1-t)^2` for flows, `min_snr` for
            diffusion.
    """

    reduction: Literal["mean", "sum"] = "mean"
    noise: Literal["shared", "own", "inverted"] = "shared"
    inversion_steps: int | None = Field(default=None, ge=1)
    draws: int = Field(default=1, ge=1)
    fixed_draws: int | None = Field(default=None, ge=1)
    eval_draws: int = Field(default=16, ge=1)
    size: int | None = Field(default=None, ge=8)
    show: int = Field(default=4, ge=0)
    guidance: float | None = Field(default=None, ge=0)
    density: Literal["uniform", "logit_normal"] | None = None
    time_weight: Literal["constant", "(1-t)^2", "min_snr"] | None = None
