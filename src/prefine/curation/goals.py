"""Reward-augmented data: each pair twice, with the score that is asked for in the prompt."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from prefine.curation.operator import Made, derived
from prefine.errors import ConfigError
from prefine.records import Judgment, Message, Rater, Record
from prefine.records.views import Who
from prefine.records.votes import HOWS, How, Pair, PairRule, SetAside, pairs_of, utilities

TEXT = "Give a response that would earn {score} on a scale from {low} to {high}."


@dataclass(frozen=True, slots=True, kw_only=True)
class Goals:
    """Each scored pair twice: asked for the winner's score, and for the loser's with sides swapped.

    Asked for its own score, the worse response is the right one: y_w beats y_l at the goal s_w, and
    y_l beats y_w at the goal s_l, as under the reward -(goal - score)^2. Any pair loss learns both;
    ask for the highest score afterwards.

    Every new record has one verdict, on the aspect it was made from; what raters had said stands
    under `"<aspect>, no goal"`, with its raters. The rater of the verdict is the one whose scores
    it follows, or the rule where there are several. The tag `goal` holds the score asked for.

    Attributes:
        low: Lowest score that the text speaks of; None for the scale of the ratings.
        high: Highest.
        how: Which pairs of rated responses; compared ones give the pairs that were compared.
        aspect: Which aspect of the judgments.
        place: system: in the system message, a new one where there is none; user: before the
            first user turn, for templates without a system message.
        text: What is asked, with {score}, {low} and {high}.

    Raises:
        ConfigError: If the scale does not rise or has one end, or the text lacks the score.

    Source:
        Zhang et al. 2024, arXiv:2410.08067; official code for the swap and the dropping of pairs
        whose scores are the wrong way round. The words are ours.

    Example:
        >>> from prefine.records import load
        >>> rows = [{"prompt": "2 + 2?", "completions": [
        ...     {"response": "4", "overall_score": 9}, {"response": "5", "overall_score": 2}]}]
        >>> goals = Goals(low=1, high=10)
        >>> goals.asked(9)
        'Give a response that would earn 9 on a scale from 1 to 10.'
    """

    name: ClassVar[str] = "goals"

    low: float | None = None
    high: float | None = None
    how: How = "best_vs_worst"
    aspect: str = "overall"
    place: Literal["system", "user"] = "system"
    text: str = TEXT

    def __post_init__(self) -> None:
        if (self.low is None) != (self.high is None):
            raise ConfigError("A scale has two ends: give `low` and `high`, or neither.")
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise ConfigError(f"The scale must rise, got {self.low:g} to {self.high:g}.")
        if "{score}" not in self.text:
            raise ConfigError(
                f"`text` must hold {{score}}, or both goals read the same, got {self.text!r}."
            )
        if self.how not in HOWS or self.how == "gap":
            allowed = ", ".join(how for how in HOWS if how != "gap")
            raise ConfigError(f"`how` must be one of {allowed}, got {self.how!r}.")
        if self.place not in ("system", "user"):
            raise ConfigError(f"`place` must be system or user, got {self.place!r}.")

    def asked(self, score: float, scale: tuple[float | None, float | None] = (None, None)) -> str:
        """Return the words that ask for a score, on a scale where the options name none."""
        low, high = (self.low, self.high) if self.low is not None else scale
        shown = {"score": score, "low": low, "high": high}
        text = self.text
        for key, value in shown.items():
            text = text.replace(f"{{{key}}}", "" if value is None else f"{round(value, 2):g}")
        return text

    def __call__(self, record: Record) -> Made:
        """Yield two records a pair, or why there are none."""
        for group in Who(self.aspect).groups(record, ("pair", "rank", "rate")):
            if isinstance(group, SetAside):
                yield group
            else:
                yield from self._of(record, group[1])

    def _of(self, record: Record, judgments: list[Judgment]) -> Made:
        rated = [judgment for judgment in judgments if judgment.kind == "rate"]
        worth = utilities(rated)
        if isinstance(worth, SetAside) or not rated:
            yield worth if isinstance(worth, SetAside) else SetAside("no score")
            return
        scale = rated[0].scale or (None, None)
        if reason := self._unfit(scale, list(worth.values())):
            yield SetAside(reason)
            return
        number = 0
        for pair in pairs_of(record, judgments, PairRule(self.how)):
            if isinstance(pair, SetAside):
                yield pair
                continue
            if pair.chosen not in worth or pair.rejected not in worth:
                yield SetAside("no score of a compared response")
                continue
            scores = (worth[pair.chosen], worth[pair.rejected])
            texts = [self.asked(score, scale) for score in scores]
            if scores[0] < scores[1]:
                yield SetAside("the loser has the higher score")
            elif texts[0] == texts[1]:
                yield SetAside("both goals read the same")
            else:
                for at in (0, 1):
                    yield self._record(record, pair, at, texts[at], scores[at], number)
                    number += 1

    def _unfit(self, scale: tuple[float | None, float | None], scores: Sequence[float]) -> str:
        """Why the scale of these ratings cannot be named in the prompt; empty if it can."""
        if self.low is None or self.high is None:
            return "" if None not in scale else "no scale: give low and high"
        if None not in scale and scale != (self.low, self.high):
            return (
                f"rated from {scale[0]:g} to {scale[1]:g}, not from {self.low:g} to {self.high:g}"
            )
        inside = all(self.low <= score <= self.high for score in scores)
        return "" if inside else "a score outside the scale"

    def _record(
        self, record: Record, pair: Pair, at: int, text: str, score: float, number: int
    ) -> Record | SetAside:
        context = placed(record.context, text, self.place)
        if isinstance(context, SetAside):
            return context
        names = (pair.chosen, pair.rejected)
        rater = pair.rater or Rater(self.name, "rule")
        verdict = Judgment("goal", "pair", names, rater, self.aspect, winner=names[at])
        return derived(
            record, self, number,
            context=context,
            candidates=tuple(c for c in record.candidates if c.id in names),
            judgments=(verdict, *earlier(record.judgments, names, ", no goal")),
            tags={"goal": score},
        )  # fmt: skip


def placed(
    context: tuple[Message, ...],
    text: str,
    place: Literal["system", "user"],
    join: str = "\n\n",
) -> tuple[Message, ...] | SetAside:
    """Return a context with words added in front; why not, where there is no such turn."""
    at = next((at for at, message in enumerate(context) if message.role == place), None)
    if place == "system" and at != 0:
        return (Message("system", text), *context)
    if at is None:
        return SetAside("no user turn")
    turn = context[at]
    if not isinstance(turn.content, str):
        return SetAside("the turn holds more than text")
    words = (turn.content, text) if place == "system" else (text, turn.content)
    changed = replace(turn, content=join.join(word for word in words if word))
    return (*context[:at], changed, *context[at + 1 :])


def earlier(
    judgments: Sequence[Judgment], names: tuple[str, ...], said_under: str
) -> tuple[Judgment, ...]:
    """Return what was judged of the candidates that are left, under another aspect.

    A ranking or rating keeps what it says of them; a judgment of others alone goes.
    """
    kept: list[Judgment] = []
    for judgment in judgments:
        changes = {"id": f"{judgment.id}{said_under}", "aspect": f"{judgment.aspect}{said_under}"}
        if judgment.kind in ("rank", "rate"):
            shown = tuple(name for name in judgment.shown if name in names)
            values = judgment.ranks if judgment.kind == "rank" else judgment.scores
            left = {name: value for name, value in (values or {}).items() if name in names}
            if shown:
                field = "ranks" if judgment.kind == "rank" else "scores"
                changes = {**changes, "shown": shown, field: left if judgment.valid else values}
                kept.append(replace(judgment, **changes))
        elif all(name in names for name in judgment.mentions):
            kept.append(replace(judgment, **changes))
    return tuple(kept)
