"""One small function an illness: `Curves -> Finding | None`.

A rule that lacks a metric raises `MissingMetric`; a rule that does not concern the run (a reward
model has no reference) returns None. The functions' names are the illnesses' names.
"""

from prefine.audit.rules.data import data_too_easy, label_noise, length_bias
from prefine.audit.rules.drift import displacement, over_optimisation
from prefine.audit.rules.held_out import overfitting
from prefine.audit.rules.reference import reference_mistaken
from prefine.audit.rules.step_size import (
    beta_too_large,
    beta_too_small,
    learning_rate_too_large,
    learning_rate_too_small,
)

RULES = (
    reference_mistaken,
    learning_rate_too_large,
    learning_rate_too_small,
    beta_too_small,
    beta_too_large,
    overfitting,
    over_optimisation,
    displacement,
    label_noise,
    length_bias,
    data_too_easy,
)
"""Causes before what follows from them."""

SYMPTOMS = (
    "overfitting",
    "over_optimisation",
    "displacement",
    "label_noise",
    "length_bias",
    "data_too_easy",
)
"""What a wrong step may look like."""

EXPLAINS = {
    "reference_mistaken": tuple(rule.__name__ for rule in RULES[1:]),
    "learning_rate_too_large": ("beta_too_small", *SYMPTOMS),
    "learning_rate_too_small": ("label_noise", "length_bias"),
    "beta_too_large": ("learning_rate_too_large", "overfitting"),
    "beta_too_small": ("overfitting", "over_optimisation", "displacement"),
    "overfitting": ("displacement",),
    "over_optimisation": ("displacement",),
    "label_noise": ("length_bias",),
}
"""Illness -> those it brings along: they are told after it, and named as its consequence."""

__all__ = [
    "EXPLAINS",
    "RULES",
    "beta_too_large",
    "beta_too_small",
    "data_too_easy",
    "displacement",
    "label_noise",
    "learning_rate_too_large",
    "learning_rate_too_small",
    "length_bias",
    "over_optimisation",
    "overfitting",
    "reference_mistaken",
]
