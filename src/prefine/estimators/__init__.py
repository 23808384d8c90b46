"""Estimators: gradients of what a policy draws, labels that it gives, weights of sources."""

from prefine.estimators.gradients import leave_one_out, mixture, pair_weights, reinforce
from prefine.estimators.labels import both_orders, ranked_pairs
from prefine.estimators.mixing import GradientMixing, aligned, alignment

__all__ = [
    "GradientMixing",
    "aligned",
    "alignment",
    "both_orders",
    "leave_one_out",
    "mixture",
    "pair_weights",
    "ranked_pairs",
    "reinforce",
]
