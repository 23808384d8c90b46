"""Estimators: gradients of what a policy draws itself, and labels that it gives itself."""

from prefine.estimators.gradients import leave_one_out, mixture, pair_weights, reinforce
from prefine.estimators.labels import both_orders, ranked_pairs

__all__ = [
    "both_orders",
    "leave_one_out",
    "mixture",
    "pair_weights",
    "ranked_pairs",
    "reinforce",
]
