"""Records of what people prefer: schema, loading, views, splits."""

from prefine.records.convert import Converted, convert
from prefine.records.load import load
from prefine.records.mismatched import with_mismatched
from prefine.records.records import Records, Rejects
from prefine.records.schema import (
    SCHEMA,
    UNKNOWN_RATER,
    Candidate,
    Judgment,
    Message,
    Origin,
    Part,
    Principal,
    Rater,
    Record,
    Source,
    Step,
)
from prefine.records.views import View

__all__ = [
    "SCHEMA",
    "UNKNOWN_RATER",
    "Candidate",
    "Converted",
    "Judgment",
    "Message",
    "Origin",
    "Part",
    "Principal",
    "Rater",
    "Record",
    "Records",
    "Rejects",
    "Source",
    "Step",
    "View",
    "convert",
    "load",
    "with_mismatched",
]
