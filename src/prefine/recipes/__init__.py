"""Programs of several stages."""

from prefine.recipes.choice import Choice, choose
from prefine.recipes.study import Study, compare_objectives
from prefine.recipes.two_speeds import Chase, chase

__all__ = ["Chase", "Choice", "Study", "chase", "choose", "compare_objectives"]
