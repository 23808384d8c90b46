"""From judgments to decisions: which candidate of a record beats which, and by how many votes."""

import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from prefine.errors import ConfigError
from prefine.records.judgment import Judgment, Rater
from prefine.records.schema import Record

How = Literal["best_vs_worst", "best_vs_random", "adjacent", "all", "gap"]
Votes = Literal["majority", "soft", "each"]
Ties = Literal["drop", "keep"]

HOWS = ("best_vs_worst", "best_vs_random", "adjacent", "all", "gap")
VOTES = ("majority", "soft", "each")
TIES = ("drop", "keep")


@dataclass(frozen=True, slots=True)
class Pair:
    """Two candidates and what the votes say about them.

    Attributes:
        chosen: Id of the better candidate (of a tie: the one that stands first in the record).
        rejected: Id of the other one.
        tie: Whether they were judged equal.
        prob: Share of the decisive votes that `chosen` got, for soft votes.
        margin: Mean strength of the votes for `chosen`, where votes have a strength.
        utility: Scores or negative ranks of the two, where they were rated or ranked.
        count: How many raters a single vote stands for.
        rater: The rater, where all votes are one rater's.
    """

    chosen: str
    rejected: str
    tie: bool = False
    prob: float | None = None
    margin: float | None = None
    utility: tuple[float | None, float | None] = (None, None)
    count: int = 1
    rater: Rater | None = None


@dataclass(frozen=True, slots=True)
class SetAside:
    """Something that becomes no row, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class PairRule:
    """How pairs are made; see `Records.pairs`. Only counts keep pairs of identical responses."""

    how: How = "best_vs_worst"
    votes: Votes = "majority"
    ties: Ties = "drop"
    min_gap: float = 0.0
    seed: int = 0
    identical: Ties = "drop"

    def __post_init__(self) -> None:
        choices = (("how", self.how, HOWS), ("votes", self.votes, VOTES), ("ties", self.ties, TIES))
        for name, value, allowed in choices:
            if value not in allowed:
                raise ConfigError(f"`{name}` must be one of {', '.join(allowed)}, got {value!r}.")
        if not self.min_gap >= 0:
            raise ConfigError(f"`min_gap` must be at least 0, got {self.min_gap}.")
        if self.how == "gap" and self.min_gap == 0:
            raise ConfigError("`how=gap` needs `min_gap` > 0: the least difference of a pair.")


def pairs_of(
    record: Record, judgments: Sequence[Judgment], rule: PairRule
) -> Iterator[Pair | SetAside]:
    """Yield the pairs of one record under one aspect, and what becomes none.

    Candidates that were compared directly give exactly those pairs, and ratings beside them are
    their utility. Elsewhere ranks and ratings make the pairs; `rule.how` says which.
    """
    direct = [judgment for judgment in judgments if judgment.kind == "pair"]
    if direct:
        found = _each_vote(direct) if rule.votes == "each" else _tallied(record, direct, rule)
        found = _with_ratings(found, judgments)
    else:
        found = _from_order(record, judgments, rule)
    for pair in found:
        if isinstance(pair, Pair) and pair.tie and rule.ties == "drop":
            yield SetAside("tie")
        elif isinstance(pair, Pair) and rule.identical == "drop" and _same(record, pair):
            yield SetAside("identical responses")
        else:
            yield pair


def _same(record: Record, pair: Pair) -> bool:
    return record.candidate(pair.chosen).messages == record.candidate(pair.rejected).messages


def _with_ratings(
    found: Iterator[Pair | SetAside], judgments: Sequence[Judgment]
) -> Iterator[Pair | SetAside]:
    """Add the mean rating of both; the votes alone say which is better."""
    rated = utilities([judgment for judgment in judgments if judgment.kind == "rate"])
    worth = {} if isinstance(rated, SetAside) else rated
    for pair in found:
        if isinstance(pair, Pair):
            pair = replace(pair, utility=(worth.get(pair.chosen), worth.get(pair.rejected)))
        yield pair


def _each_vote(direct: Sequence[Judgment]) -> Iterator[Pair | SetAside]:
    for vote in direct:
        first, second = vote.shown
        if vote.winner in ("skip", "both_bad"):
            yield SetAside(str(vote.winner).replace("_", " "))
        elif vote.winner == "tie":
            yield Pair(first, second, tie=True, count=vote.count, rater=_named(vote.rater))
        else:
            chosen, rejected = (first, second) if vote.winner == first else (second, first)
            yield Pair(
                chosen,
                rejected,
                margin=vote.strength,
                count=vote.count,
                rater=_named(vote.rater),
            )


def _tallied(
    record: Record, direct: Sequence[Judgment], rule: PairRule
) -> Iterator[Pair | SetAside]:
    by_pair: dict[tuple[str, ...], list[Judgment]] = {}
    place = {candidate.id: at for at, candidate in enumerate(record.candidates)}
    for vote in direct:
        if vote.winner == "skip":
            yield SetAside("skip")
        else:
            by_pair.setdefault(tuple(sorted(vote.shown, key=place.__getitem__)), []).append(vote)
    for (first, second), votes in by_pair.items():
        yield _decide(first, second, votes, soft=rule.votes == "soft")


def _decide(first: str, second: str, votes: Sequence[Judgment], *, soft: bool) -> Pair | SetAside:
    """Decide one pair.

    Majority: a side wins with more votes than the other side, than the ties and than "both bad".
    Soft: ties are left out, and the share of the decisive votes becomes `prob`.
    """
    shares = [(beats(vote, first, second), vote.count) for vote in votes]
    for_first = sum(share * count for share, count in shares if share is not None)
    decisive = sum(count for share, count in shares if share is not None)
    for_second = decisive - for_first
    ties = sum(vote.count for vote in votes if vote.winner == "tie")
    both_bad = sum(vote.count for vote in votes if vote.winner == "both_bad")
    top = max(for_first, for_second)
    undecided = not decisive if soft else top <= max(ties, both_bad) or for_first == for_second
    if undecided and both_bad > ties:
        return SetAside("both bad")
    rater = _only(vote.rater for vote in votes)
    if undecided:
        return Pair(first, second, tie=True, rater=rater)
    chosen, rejected = (first, second) if for_first >= for_second else (second, first)
    return Pair(
        chosen,
        rejected,
        prob=top / decisive if soft else None,
        margin=_mean_strength(votes, chosen),
        rater=rater,
    )


def beats(judgment: Judgment, first: str, second: str) -> float | None:
    """Return the probability that `first` beats `second` by one judgment, None if undecided."""
    if judgment.kind == "pair":
        if judgment.winner not in (first, second):
            return None
        if judgment.prob is not None:
            return judgment.prob if judgment.shown[0] == first else 1 - judgment.prob
        return float(judgment.winner == first)
    worth = worth_of(judgment)
    if first not in worth or second not in worth or worth[first] == worth[second]:
        return None
    return float(worth[first] > worth[second])


def worth_of(judgment: Judgment) -> dict[str, float]:
    """Return the score of each candidate by one rating, or minus its rank by one ranking."""
    if judgment.kind == "rank":
        return {name: -float(rank) for name, rank in (judgment.ranks or {}).items()}
    scores = judgment.scores or {}
    return {name: float(score) for name, score in scores.items() if score is not None}


def utilities(judgments: Sequence[Judgment]) -> dict[str, float] | SetAside:
    """Return the mean score of each candidate, or minus its mean rank where none was rated.

    Ratings on different scales have no mean.
    """
    rated = [judgment for judgment in judgments if judgment.kind == "rate"]
    if len({judgment.scale for judgment in rated}) > 1:
        return SetAside("ratings on different scales")
    ranked = [judgment for judgment in judgments if judgment.kind == "rank"]
    total: dict[str, float] = {}
    count: dict[str, int] = {}
    for judgment in rated or ranked:
        for name, worth in worth_of(judgment).items():
            total[name] = total.get(name, 0.0) + worth * judgment.count
            count[name] = count.get(name, 0) + judgment.count
    return {name: total[name] / count[name] for name in total}


def _from_order(
    record: Record, judgments: Sequence[Judgment], rule: PairRule
) -> Iterator[Pair | SetAside]:
    each = rule.votes == "each"
    groups = [[judgment] for judgment in judgments] if each else [list(judgments)]
    for at, group in enumerate(groups):
        worth = utilities(group)
        if isinstance(worth, SetAside):
            yield worth
            continue
        order = best_first(record, worth)
        if len(order) < 2:
            yield SetAside("fewer than two rated")
            continue
        rng = random.Random(f"{rule.seed}/{record.id}/{group[0].aspect}/{at}")
        for better, worse in _select(order, rule.how, rng):
            yield _ordered_pair(better, worse, worth, group, rule)


def best_first(record: Record, worth: Mapping[str, float]) -> list[str]:
    """Return the rated candidates, best first; equals stay in the record's order."""
    rated = [candidate.id for candidate in record.candidates if candidate.id in worth]
    return sorted(rated, key=lambda name: -worth[name])


def _select(order: list[str], how: How, rng: random.Random) -> list[tuple[str, str]]:
    if how == "best_vs_worst":
        return [(order[0], order[-1])]
    if how == "best_vs_random":
        return [(order[0], rng.choice(order[1:]))]
    if how == "adjacent":
        return list(itertools.pairwise(order))
    return list(itertools.combinations(order, 2))


def _ordered_pair(
    better: str, worse: str, worth: Mapping[str, float], group: Sequence[Judgment], rule: PairRule
) -> Pair | SetAside:
    gap = worth[better] - worth[worse]
    utility = (worth[better], worth[worse])
    rater = _only(judgment.rater for judgment in group)
    count = group[0].count if rule.votes == "each" else 1
    if gap == 0 and rule.how != "gap":
        return Pair(better, worse, tie=True, utility=utility, count=count, rater=rater)
    if gap < rule.min_gap:
        return SetAside("gap below min_gap")
    prob = _share(better, worse, group) if rule.votes == "soft" else None
    return Pair(better, worse, prob=prob, utility=utility, count=count, rater=rater)


def _share(better: str, worse: str, group: Sequence[Judgment]) -> float | None:
    shares = [(beats(judgment, better, worse), judgment.count) for judgment in group]
    decisive = [(share, count) for share, count in shares if share is not None]
    votes = sum(count for _, count in decisive)
    return sum(share * count for share, count in decisive) / votes if votes else None


def _mean_strength(votes: Sequence[Judgment], chosen: str) -> float | None:
    known = [(v.strength, v.count) for v in votes if v.winner == chosen and v.strength is not None]
    total = sum(count for _, count in known)
    return sum(strength * count for strength, count in known) / total if total else None


def _named(rater: Rater) -> Rater | None:
    return None if rater.type == "unknown" else rater


def _only(raters: Iterator[Rater]) -> Rater | None:
    """Return the one rater behind all votes, or None."""
    found = {rater.id: rater for rater in raters}
    return _named(next(iter(found.values()))) if len(found) == 1 else None


def decided(record: Record) -> Iterator[Pair]:
    """Yield the pairs of a record that a majority decided: what any format of pairs can hold.

    Pairs of identical responses are among them; ties, skips and unreadable verdicts are not.
    """
    judgments = [j for j in record.judgments if j.valid and j.aspect == "overall"]
    usable = [j for j in judgments if j.kind in ("pair", "rank", "rate")]
    for pair in pairs_of(record, usable, PairRule(identical="keep")) if usable else ():
        if isinstance(pair, Pair):
            yield pair
