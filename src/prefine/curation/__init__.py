"""Operators on records: from the preferences there are to those that a method asks for."""

from prefine.curation.edits import Edits
from prefine.curation.goals import Goals
from prefine.curation.operator import (
    AsksFirst,
    LooksFirst,
    Made,
    Operator,
    curate,
    derived,
    options_of,
)
from prefine.curation.shots import Shots
from prefine.curation.streams import Streams
from prefine.curation.tutor import Tutor
from prefine.curation.writer import Writer

__all__ = [
    "AsksFirst",
    "Edits",
    "Goals",
    "LooksFirst",
    "Made",
    "Operator",
    "Shots",
    "Streams",
    "Tutor",
    "Writer",
    "curate",
    "derived",
    "options_of",
]
