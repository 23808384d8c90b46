"""Evaluation: what a reward or a policy makes of preferences, with intervals and baselines."""

from prefine.evaluation.actions import Actions, action_report, actions_of
from prefine.evaluation.calibration import Bin, best_temperature, calibration, reliability
from prefine.evaluation.ceiling import flip_loss, idealised_accuracy, idealised_gap
from prefine.evaluation.credit import Stretch, credit_report, stretches, token_credit
from prefine.evaluation.drift import Drift, value_drift, value_gap
from prefine.evaluation.factors import RunTable, read_runs
from prefine.evaluation.grids import grid_measures
from prefine.evaluation.groups import Groups, by_group
from prefine.evaluation.latency import average_lagging, average_proportion, latency_report
from prefine.evaluation.overoptimisation import (
    Overoptimisation,
    fit_overoptimisation,
    stop_at,
    top_k_entropy,
    top_k_mass,
)
from prefine.evaluation.pairs import (
    best_tie_threshold,
    length_correlation,
    longer_wins,
    pair_accuracy,
    win_rate,
)
from prefine.evaluation.ranking import ranking_accuracy, ranking_report
from prefine.evaluation.reward import reward_report
from prefine.evaluation.scaffolding import scaffolding_report
from prefine.evaluation.selection import MarginSplit, split_by_margin

__all__ = [
    "Actions",
    "Bin",
    "Drift",
    "Groups",
    "MarginSplit",
    "Overoptimisation",
    "RunTable",
    "Stretch",
    "action_report",
    "actions_of",
    "average_lagging",
    "average_proportion",
    "best_temperature",
    "best_tie_threshold",
    "by_group",
    "calibration",
    "credit_report",
    "fit_overoptimisation",
    "flip_loss",
    "grid_measures",
    "idealised_accuracy",
    "idealised_gap",
    "latency_report",
    "length_correlation",
    "longer_wins",
    "pair_accuracy",
    "ranking_accuracy",
    "ranking_report",
    "read_runs",
    "reliability",
    "reward_report",
    "scaffolding_report",
    "split_by_margin",
    "stop_at",
    "stretches",
    "token_credit",
    "top_k_entropy",
    "top_k_mass",
    "value_drift",
    "value_gap",
    "win_rate",
]
