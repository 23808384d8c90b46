"""The parts of a run that trains a picture model."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from prefine.adapters.denoising import Denoising
from prefine.errors import ConfigError
from prefine.models.picture_rows import PictureEncoder, root_of
from prefine.models.pictures import PictureModel, load_picture_model
from prefine.objectives.declare import Spec, unwrapped
from prefine.objectives.options import options_of
from prefine.training.config import DenoisingConfig, RunConfig
from prefine.training.distributed import best_device

OF_TEXT = ("template", "max_length", "truncate", "layout", "token_budget", "head_only")
"""Keys of a run that mean nothing to a picture model."""

OF_RUNS = {"eval_draws", "show", "guidance", "size"}
"""Keys of `denoising` that are not the adapter's."""

TIME_WEIGHTS = {"(1-t)^2": True, "min_snr": False}
"""Factor of the error at a time -> whether it is for flows, or for diffusion."""


def picture_parts(
    config: RunConfig, declared: Spec, *, progress: bool
) -> tuple[PictureModel, Denoising]:
    """Load a picture model and make its adapter.

    Raises:
        ConfigError: If an option is set that such a model has no use for.
    """
    for key in OF_TEXT:
        if getattr(config, key) != RunConfig.model_fields[key].default:
            raise ConfigError(f"{key} is for language models, and this is a picture model.")
    if declared.unit == "reward":
        raise ConfigError(
            f"{config.objective} trains a language model's head; a picture model has none."
        )
    given = config.denoising or DenoisingConfig()
    model = load_picture_model(
        config.model, dtype=config.dtype, revision=config.revision, resolution=given.size
    )
    if given.density is not None and not model.is_flow:
        raise ConfigError(f"denoising.density is for flows; {model.family} is none.")
    weight = given.time_weight
    if weight is not None and TIME_WEIGHTS.get(weight, model.is_flow) != model.is_flow:
        kind = "flow" if model.is_flow else "diffusion model"
        raise ConfigError(f"denoising.time_weight={weight} is not for a {kind}.")
    if given.inversion_steps is not None and given.noise != "inverted":
        raise ConfigError("denoising.inversion_steps does nothing unless denoising.noise=inverted.")
    options = given.model_dump(exclude=OF_RUNS, exclude_none=True)
    model.pipeline.to(best_device())
    _name_checkpoints(model.denoiser)
    roots = {root_of(name) for name in (config.data, config.eval_data) if name is not None}
    encoder = PictureEncoder(model, tuple(sorted(roots)), progress)
    return model, replace(model.adapter(**options), prepare_view=encoder)


def _name_checkpoints(denoiser: Any) -> None:
    """Let the trainer switch checkpoints on by the name it knows: diffusers has an older one."""

    def enable(*_: Any, **settings: Any) -> None:
        for key, value in settings.items():
            if key != "activation_checkpointing_kwargs" and value not in (None, False, 1):
                raise ConfigError(f"{key}={value}: a denoiser checkpoints every layer or none.")
        denoiser.enable_gradient_checkpointing()

    object.__setattr__(denoiser, "activation_checkpointing_enable", enable)


def refuse_pictures(config: RunConfig) -> None:
    """Refuse an option of pictures for a language model.

    Raises:
        ConfigError: Naming it.
    """
    if config.denoising is not None:
        raise ConfigError(f"denoising is for picture models; {config.model} is none.")
    if config.rows.captions is not None:
        raise ConfigError(f"rows.captions is for picture models; {config.model} is none.")


def refuse_nats(config: RunConfig, adapter: Denoising, objective: Any, declared: Spec) -> None:
    """Refuse a strength that was meant for nats, also that of a loss inside another.

    Raises:
        ConfigError: If the objective compares with a reference at a strength that was not given,
            and its own is that of language models.
    """
    if not declared.needs.reference:
        return
    inner = getattr(objective, "loss", None)
    losses = [objective] if inner is None else [objective, inner]
    defaults = {o.name: o.default for one in losses for o in options_of(unwrapped(one)).values()}
    told = config.options.get("loss")
    given = {**(told if isinstance(told, Mapping) else {}), **config.options}
    for name in ("beta", "tau"):
        value = defaults.get(name)
        if value is None or name in given or value > 1:
            continue
        raise ConfigError(
            f"{config.objective}: {name}={value:g} is meant for nats, but this model is scored in "
            f"{adapter.unit}, where log-ratios are thousandths or less. Say --set "
            f"options.{name}=...: as a beta, 2000 to 5000 are usual for latents of Stable "
            "Diffusion with the mean error. Or take a preset, such as diffusion_dpo, which sets it."
        )
