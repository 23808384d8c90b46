"""Programs of several stages."""

from prefine.recipes.choice import Choice, choose
from prefine.recipes.compare import compare_objectives
from prefine.recipes.rounds import Rounds, run_rounds
from prefine.recipes.stages import Stage, run_stages
from prefine.recipes.study import Study

__all__ = [
    "Choice",
    "Rounds",
    "Stage",
    "Study",
    "choose",
    "compare_objectives",
    "run_rounds",
    "run_stages",
]
