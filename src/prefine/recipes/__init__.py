"""Programs of several stages."""

from prefine.recipes.choice import Choice, choose
from prefine.recipes.compare import compare_objectives
from prefine.recipes.study import Study

__all__ = ["Choice", "Study", "choose", "compare_objectives"]
