"""Terms that stand beside a preference in a run: reasons for it, and degrees of damage."""

import os
from functools import partial
from typing import Any

from prefine.errors import ConfigError
from prefine.objectives.declare import Spec
from prefine.objectives.degrees import degree_cross_entropy
from prefine.objectives.rationale import rationale_likelihood
from prefine.records.rationales import RATIONALE
from prefine.scores import Term
from prefine.training.config import RunConfig
from prefine.training.degrees import DAMAGED, SIDES
from prefine.training.distributed import uses_fsdp


def with_terms(config: RunConfig, objective: Any) -> Any:
    """Return the objective, or the terms of a run that asks for more."""
    terms: list[Term] = []
    if (reasons := config.rationale) is not None:
        explain = partial(rationale_likelihood, gamma=reasons.gamma, summed=reasons.summed)
        terms.append(Term("rationale", explain, (RATIONALE,)))
    if (degrees := config.degrees) is not None:
        tell = partial(degree_cross_entropy, weight=degrees.weight)
        terms.append(Term("degrees", tell, DAMAGED))
    return [Term("preference", objective, SIDES), *terms] if terms else objective


def check_terms(config: RunConfig, declared: Spec, name: str) -> None:
    """Refuse a term beside an objective that it cannot stand beside.

    Args:
        config: The run.
        declared: What its objective consumes.
        name: What messages call the objective, or `a picture model`.

    Raises:
        ConfigError: Saying which, and what to do.
    """
    fits = declared.data == "pair" and declared.unit != "reward" and name != "a picture model"
    if config.rationale is not None and not fits:
        raise ConfigError(
            f"rationale: a reason is written beside pairs of a language model's responses, which "
            f"{name} does not learn from. Choose a pair objective of policies, such as dpo or "
            "orpo, or remove the block."
        )
    if config.degrees is None:
        return
    if not fits:
        raise ConfigError(
            f"degrees: versions are made of a pair of a language model's responses, which {name} "
            "does not learn from. Choose a pair objective of policies, such as dpo or orpo, or "
            "remove the block."
        )
    if config.mixing is not None:
        raise ConfigError(
            "degrees and mixing: the head would take part in the gradients by which sources are "
            "compared. Take one."
        )
    if uses_fsdp() or os.environ.get("ACCELERATE_USE_DEEPSPEED", "false").lower() in ("1", "true"):
        raise ConfigError(
            "degrees: a head that no model holds is lost where weights are sharded. Start without "
            "FSDP or DeepSpeed, or remove the block."
        )
