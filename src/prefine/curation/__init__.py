"""Operators on records: from the preferences there are to those that a method asks for."""

from prefine.curation.goals import Goals
from prefine.curation.operator import LooksFirst, Made, Operator, curate, derived, options_of
from prefine.curation.shots import Shots

__all__ = [
    "Goals",
    "LooksFirst",
    "Made",
    "Operator",
    "Shots",
    "curate",
    "derived",
    "options_of",
]
