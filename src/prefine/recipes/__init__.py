"""Programs of several stages."""

from prefine.recipes.choice import Choice, choose
from prefine.recipes.study import Study, compare_objectives

__all__ = ["Choice", "Study", "choose", "compare_objectives"]
