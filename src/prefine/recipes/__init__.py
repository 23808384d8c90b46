"""Programs of several stages."""

from prefine.recipes.choice import Choice, choose
from prefine.recipes.compare import compare_objectives
from prefine.recipes.principles import Principles, read_principles
from prefine.recipes.rounds import Rounds, run_rounds
from prefine.recipes.sami import Grid, grid_view, sami
from prefine.recipes.sami_rounds import SamiRounds, run_sami
from prefine.recipes.stages import Stage, run_stages
from prefine.recipes.study import Study
from prefine.recipes.two_speeds import Chase, chase

__all__ = [
    "Chase",
    "Choice",
    "Grid",
    "Principles",
    "Rounds",
    "SamiRounds",
    "Stage",
    "Study",
    "chase",
    "choose",
    "compare_objectives",
    "grid_view",
    "read_principles",
    "run_rounds",
    "run_sami",
    "run_stages",
    "sami",
]
