"""Small records for the tests of this folder."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from prefine.records import Candidate, Judgment, Message, Rater, Record, Source


@pytest.fixture
def make_record() -> Callable[..., Record]:
    """Return `make(replies, judgments, prompt=..., row=..., **fields)`."""

    def make(
        replies: Sequence[str] = ("yes", "no"),
        judgments: Sequence[Judgment] = (),
        prompt: str = "Is it?",
        row: int = 0,
        **fields: Any,
    ) -> Record:
        candidates = tuple(
            Candidate(f"c{at}", (Message("assistant", reply),)) for at, reply in enumerate(replies)
        )
        fields = {"context": (Message("user", prompt),), **fields}
        return Record(
            source=Source("test", row=row, license="mit"),
            candidates=candidates,
            judgments=tuple(judgments),
            **fields,
        )

    return make


@pytest.fixture
def vote() -> Callable[..., Judgment]:
    """Return `vote(winner, by=..., **fields)`: a pair judgment by one person."""
    number = iter(range(10_000))

    def make(winner: str, by: str = "ann", shown: Any = ("c0", "c1"), **fields: Any) -> Judgment:
        rater = Rater(by, "human")
        return Judgment(f"v{next(number)}", "pair", shown, rater, winner=winner, **fields)

    return make


@pytest.fixture
def rating() -> Callable[..., Judgment]:
    """Return `rating(score of c0, score of c1, ..., scale=..., by=...)`: one rating of all."""
    number = iter(range(10_000))

    def make(*scores: float | None, by: str = "ann", scale: Any = (1, 10)) -> Judgment:
        names = tuple(f"c{at}" for at in range(len(scores)))
        given = dict(zip(names, scores, strict=True))
        rater = Rater(by, "human")
        return Judgment(f"r{next(number)}", "rate", names, rater, scores=given, scale=scale)

    return make
