"""Programs of several stages."""

from prefine.recipes.choice import Choice, choose
from prefine.recipes.sami import Grid, grid_view, sami
from prefine.recipes.study import Study, compare_objectives

__all__ = ["Choice", "Grid", "Study", "choose", "compare_objectives", "grid_view", "sami"]
