"""Judges: what says of two responses which is better."""

from prefine.judges.options import OptionJudge
from prefine.judges.rewards import RewardComparison

__all__ = ["OptionJudge", "RewardComparison"]
