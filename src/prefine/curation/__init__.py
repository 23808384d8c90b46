"""Operators on records: from the preferences there are to those that a method asks for."""

from prefine.curation.edits import Edits
from prefine.curation.goals import Goals
from prefine.curation.operator import LooksFirst, Made, Operator, curate, derived, options_of
from prefine.curation.shots import Shots
from prefine.curation.streams import Streams
from prefine.curation.tutor import Tutor

__all__ = [
    "Edits",
    "Goals",
    "LooksFirst",
    "Made",
    "Operator",
    "Shots",
    "Streams",
    "Tutor",
    "curate",
    "derived",
    "options_of",
]
