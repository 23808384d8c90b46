"""Judgments: who was shown what, and what they said."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from prefine.errors import RecordError
from prefine.records import codec

RATER_TYPES = ("human", "model", "rule", "user", "unknown")
UNDECIDED = ("tie", "both_bad", "skip")
"""What `winner` may be besides a candidate; the three stay distinct."""

FIELDS_OF_KIND = {
    "pair": ("winner", "strength", "prob"),
    "rank": ("ranks",),
    "rate": ("scores", "scale"),
    "edit": ("edit_from", "edit_to", "cost", "ops"),
    "signal": ("target", "polarity", "category", "at", "text", "inferred_preference"),
}
REQUIRED_OF_KIND = {
    "pair": ("winner",),
    "rank": ("ranks",),
    "rate": ("scores", "scale"),
    "edit": ("edit_from", "edit_to"),
    "signal": ("target", "polarity"),
}
FOREIGN = {
    kind: {
        name: other for other, names in FIELDS_OF_KIND.items() if other != kind for name in names
    }
    for kind in FIELDS_OF_KIND
}
"""Fields that a kind must leave empty, and the kind that each belongs to."""
_foreign_values = {kind: attrgetter(*names) for kind, names in FOREIGN.items()}
KEYS = {"edit_from": "from", "edit_to": "to"}
"""JSON keys that are not Python names."""


@dataclass(frozen=True, slots=True)
class Rater:
    """Who judged. Not the person for whom a response should be good (that is the principal).

    Attributes:
        id: Name of the rater, stable over the data set.
        type: human, model, rule, user or unknown.
        group: Groups the rater belongs to, by name of the grouping.
        model: Which model, for judges that are models.
        template_hash: Hash of the judge's prompt template.
        params: Anything that shaped the verdict: temperature, estimated competence.
    """

    id: str
    type: str
    group: Mapping[str, str] = field(default_factory=dict[str, str])
    model: str | None = None
    template_hash: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        codec.text("id", self.id, empty=False)
        codec.one_of("type", self.type, RATER_TYPES)
        codec.mapping("group", self.group, codec.text)
        codec.optional(codec.text, "model", self.model)
        codec.optional(codec.text, "template_hash", self.template_hash)
        codec.mapping("params", self.params)

    @classmethod
    def from_json(cls, value: Any) -> "Rater":
        """Read a rater from a JSON object."""
        return codec.decode(cls, value)


UNKNOWN_RATER = Rater("unknown", "unknown")
"""For data that does not say who judged."""


@dataclass(frozen=True, slots=True)
class Judgment:
    """One verdict of one rater on candidates of one record.

    `shown` is the order in which the rater saw the candidates: showing a pair the other way round
    is a second judgment. Direction is in `winner`, size in `strength`, which is never negative.
    A verdict that could not be read is kept with `valid=False` and `raw`; it is no tie.

    Attributes:
        id: Name of the judgment, unique within its record.
        kind: pair, rank, rate, edit or signal; decides which of the fields below may be set.
        shown: Ids of the candidates in the order shown.
        rater: Who judged.
        aspect: What was judged, e.g. `"overall"`, `"safe"`.
        winner: Pair: id of the better candidate, or `"tie"`, `"both_bad"`, `"skip"`.
        strength: Pair: how much better, at least 0.
        prob: Pair: probability that `shown[0]` wins.
        ranks: Rank: rank by candidate id; 1 is best, equal ranks tie, a missing id is not ranked.
        scores: Rate: score by candidate id; None where the rater gave none.
        scale: Rate: [lowest, highest] possible score; None at an end that has no bound.
        edit_from: Edit: id of the draft (`from` in JSON).
        edit_to: Edit: id of the edited candidate (`to` in JSON).
        cost: Edit: its cost, e.g. characters changed.
        ops: Edit: the operations.
        target: Signal: id of the candidate it concerns.
        polarity: Signal: -1, 0 or 1.
        category: Signal: labels such as `"accept"`, `"copy"`.
        at: Signal: where it stands, e.g. `{"message": 3}`.
        text: Signal: its words.
        inferred_preference: Signal: what it says about the person's wishes.
        rationale: The rater's reason.
        confidence: In [0, 1].
        count: How many raters said exactly this, for tables without rater ids.
        repeat: Number of the repetition by the same rater.
        seconds: Time taken.
        price: Cost of the verdict in the currency of its source.
        valid: False if the verdict could not be read.
        error: Why it could not be read.
        raw: The verdict as it was given.

    Raises:
        RecordError: If a field is wrong, missing for the kind, or belongs to another kind.

    Example:
        >>> j = Judgment("j0", "pair", ("c0", "c1"), UNKNOWN_RATER, winner="c1", strength=2.0)
        >>> j.to_json()["winner"]
        'c1'
    """

    id: str
    kind: str
    shown: tuple[str, ...]
    rater: Rater
    aspect: str = "overall"
    winner: str | None = None
    strength: float | None = None
    prob: float | None = None
    ranks: Mapping[str, int] | None = None
    scores: Mapping[str, float | None] | None = None
    scale: tuple[float | None, float | None] | None = None
    edit_from: str | None = field(default=None, metadata={"key": "from"})
    edit_to: str | None = field(default=None, metadata={"key": "to"})
    cost: float | None = None
    ops: tuple[Any, ...] | None = None
    target: str | None = None
    polarity: int | None = None
    category: tuple[str, ...] | None = None
    at: Mapping[str, Any] | None = None
    text: str | None = None
    inferred_preference: str | None = None
    rationale: str | None = None
    confidence: float | None = None
    count: int = 1
    repeat: int = 0
    seconds: float | None = None
    price: float | None = None
    valid: bool = True
    error: str | None = None
    raw: str | None = None

    def __post_init__(self) -> None:
        codec.text("id", self.id, empty=False)
        codec.one_of("kind", self.kind, FIELDS_OF_KIND)
        codec.sequence("shown", self.shown, codec.text)
        if len(set(self.shown)) != len(self.shown):
            raise RecordError("`shown` names a candidate twice.")
        if not isinstance(self.rater, Rater):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise RecordError("`rater` must be a Rater.")
        codec.text("aspect", self.aspect, empty=False)
        codec.flag("valid", self.valid)
        self._check_common()
        self._check_fields_of_kind()
        if self.kind == "pair":
            self._check_pair()
        elif self.kind == "rank":
            self._check_rank()
        elif self.kind == "rate":
            self._check_rate()
        elif self.kind == "edit":
            self._check_edit()
        else:
            self._check_signal()

    def _check_common(self) -> None:
        codec.optional_texts(self, "rationale", "error", "raw")
        if self.confidence is not None:
            codec.number("confidence", self.confidence, low=0, high=1)
        codec.whole("count", self.count, low=1)
        codec.whole("repeat", self.repeat, low=0)
        if self.seconds is not None:
            codec.number("seconds", self.seconds, low=0)
        if self.price is not None:
            codec.number("price", self.price, low=0)

    def _check_fields_of_kind(self) -> None:
        values = _foreign_values[self.kind](self)
        for (name, kind), value in zip(FOREIGN[self.kind].items(), values, strict=True):
            if value is not None:
                key = KEYS.get(name, name)
                raise RecordError(
                    f"`{key}` belongs to {_a(kind)} judgment, this is {_a(self.kind)}."
                )
        if not self.valid:
            return
        for name in REQUIRED_OF_KIND[self.kind]:
            if getattr(self, name) is None:
                key = KEYS.get(name, name)
                raise RecordError(
                    f"`{key}` is missing from {_a(self.kind)} judgment. If the verdict could not "
                    "be read, set `valid` to false and keep it in `raw`."
                )

    def _check_pair(self) -> None:
        if len(self.shown) != 2:
            raise RecordError(f"`shown` of a pair must name 2 candidates, got {len(self.shown)}.")
        if self.winner is not None and self.winner not in (*self.shown, *UNDECIDED):
            raise RecordError(
                f"`winner` must be one of the candidates shown ({', '.join(self.shown)}) or "
                f"tie, both_bad, skip, got {codec.short(self.winner)}."
            )
        codec.optional(codec.number, "strength", self.strength, low=0)
        codec.optional(codec.number, "prob", self.prob, low=0, high=1)

    def _check_rank(self) -> None:
        codec.optional(codec.mapping, "ranks", self.ranks, check=_rank)
        self._check_shown("ranks", self.ranks or ())

    def _check_rate(self) -> None:
        if self.scale is not None:
            codec.sequence("scale", self.scale, _bound)
            if len(self.scale) != 2:
                raise RecordError(f"`scale` must hold 2 numbers, got {len(self.scale)}.")
            low, high = self.scale
            if low is not None and high is not None and low >= high:
                raise RecordError(f"`scale` must rise, got [{low}, {high}].")
            codec.optional(codec.mapping, "scores", self.scores, check=_score_in(low, high))
        else:
            codec.optional(codec.mapping, "scores", self.scores, check=_score_in(None, None))
        self._check_shown("scores", self.scores or ())

    def _check_edit(self) -> None:
        for key, value in (("from", self.edit_from), ("to", self.edit_to)):
            codec.optional(codec.text, key, value)
        if self.edit_from is not None and self.edit_from == self.edit_to:
            raise RecordError(
                "`from` and `to` of an edit are the same candidate; an unchanged draft is a "
                "signal with polarity 1."
            )
        codec.optional(codec.number, "cost", self.cost, low=0)
        codec.optional(codec.sequence, "ops", self.ops)

    def _check_signal(self) -> None:
        codec.optional(codec.text, "target", self.target)
        codec.optional(codec.whole, "polarity", self.polarity)
        if self.polarity not in (None, -1, 0, 1):
            raise RecordError(f"`polarity` must be -1, 0 or 1, got {self.polarity}.")
        codec.optional(codec.sequence, "category", self.category, check=codec.text)
        codec.optional(codec.mapping, "at", self.at)
        codec.optional(codec.text, "text", self.text)
        codec.optional(codec.text, "inferred_preference", self.inferred_preference)

    def _check_shown(self, name: str, ids: Any) -> None:
        for candidate in ids:
            if candidate not in self.shown:
                raise RecordError(f"`{name}` names `{candidate}`, which was not shown.")

    @property
    def mentions(self) -> tuple[str, ...]:
        """Every candidate id that the judgment speaks of."""
        extra = (self.edit_from, self.edit_to, self.target)
        return (*self.shown, *(name for name in extra if name is not None))

    @classmethod
    def from_json(cls, value: Any) -> "Judgment":
        """Read a judgment from a JSON object."""
        return codec.decode(cls, value, _READERS)

    def to_json(self) -> dict[str, Any]:
        """Return the judgment as a JSON object, absent fields left out."""
        return codec.encode(self)


_READERS: dict[str, codec.Reader] = {
    "rater": Rater.from_json,
    "shown": codec.as_tuple,
    "scale": codec.as_tuple,
    "ops": codec.as_tuple,
    "category": codec.as_tuple,
}


def _rank(name: str, value: Any) -> None:
    codec.whole(name, value, low=1)


def _bound(name: str, value: Any) -> None:
    codec.optional(codec.number, name, value)


def _score_in(low: float | None, high: float | None) -> Any:
    def check(name: str, value: Any) -> None:
        codec.optional(codec.number, name, value, low=low, high=high)

    return check


def _a(kind: str) -> str:
    return f"an {kind}" if kind == "edit" else f"a {kind}"
