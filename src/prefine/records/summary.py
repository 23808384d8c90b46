"""What is in a set of records, in numbers: for `prefine data inspect`."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from prefine.records.judgment import Judgment
from prefine.records.message import Message
from prefine.records.records import Records
from prefine.records.schema import Candidate, Record
from prefine.records.votes import decided


def summarise(records: Records) -> dict[str, Any]:
    """Count what records hold; one pass, in constant memory but for the set of raters.

    Lengths are in characters of the last assistant turn (and what follows it), white space at the
    ends left out. Pairs are decided by majority under the aspect "overall"; identical ones count.

    Returns:
        A JSON object: format, records, candidates, judgments, rejects, ties, pairs,
        identical_pairs, mean_chars (candidates, chosen, rejected), longer_chosen (share of pairs
        whose chosen response is longer, equal lengths count half), kinds, aspects, rater_types,
        raters, roles, tags, invalid, malformed, licences, fingerprint.
    """
    count = _Count()
    for record in records:
        count.add(record)
    return {
        "format": records.format,
        "records": len(records),
        "candidates": count.candidates,
        "judgments": count.judgments,
        "rejects": records.rejects.count,
        "ties": count.ties,
        **count.pairs_summary(),
        "kinds": dict(count.kinds.most_common()),
        "aspects": dict(count.aspects.most_common()),
        "rater_types": dict(count.rater_types.most_common()),
        "raters": len(count.raters),
        "roles": dict(count.roles.most_common()),
        "tags": dict(count.tags.most_common()),
        "invalid": count.invalid,
        "malformed": count.malformed,
        "licences": records.licences,
        "fingerprint": records.fingerprint,
    }


def chars(candidate: Candidate) -> int:
    """Return the length of a response in characters, from its last assistant turn on.

    Example:
        >>> chars(Candidate("c0", (Message("assistant", " four "),)))
        4
    """
    turns = [at for at, m in enumerate(candidate.messages) if m.role == "assistant"]
    return sum(len(m.text.strip()) for m in candidate.messages[turns[-1] if turns else 0 :])


class _Count:
    def __init__(self) -> None:
        self.candidates = self.judgments = self.ties = self.invalid = self.malformed = 0
        self.kinds: Counter[str] = Counter()
        self.aspects: Counter[str] = Counter()
        self.rater_types: Counter[str] = Counter()
        self.raters: set[str] = set()
        self.roles: Counter[str] = Counter()
        self.tags: Counter[str] = Counter()
        self.pairs = self.identical = self.chars = self.chosen = self.rejected = 0
        self.longer = 0.0

    def add(self, record: Record) -> None:
        self.candidates += len(record.candidates)
        self.chars += sum(map(chars, record.candidates))
        self.roles.update(message.role for message in _messages(record))
        self.tags.update(record.tags.keys())
        self.malformed += record.tags.get("malformed") is True
        for judgment in record.judgments:
            self._add_judgment(judgment)
        for pair in decided(record):
            self._add_pair(record.candidate(pair.chosen), record.candidate(pair.rejected))

    def _add_judgment(self, judgment: Judgment) -> None:
        self.judgments += judgment.count
        self.ties += judgment.count * (judgment.valid and judgment.winner == "tie")
        self.invalid += not judgment.valid
        self.kinds[judgment.kind] += judgment.count
        self.aspects[judgment.aspect] += judgment.count
        self.rater_types[judgment.rater.type] += judgment.count
        if judgment.rater.type != "unknown":
            self.raters.add(judgment.rater.id)

    def _add_pair(self, chosen: Candidate, rejected: Candidate) -> None:
        self.pairs += 1
        self.identical += chosen.messages == rejected.messages
        best, worst = chars(chosen), chars(rejected)
        self.chosen += best
        self.rejected += worst
        self.longer += 1.0 if best > worst else 0.5 if best == worst else 0.0

    def pairs_summary(self) -> dict[str, Any]:
        return {
            "pairs": self.pairs,
            "identical_pairs": self.identical,
            "mean_chars": {
                "candidates": _mean(self.chars, self.candidates),
                "chosen": _mean(self.chosen, self.pairs),
                "rejected": _mean(self.rejected, self.pairs),
            },
            "longer_chosen": _mean(self.longer, self.pairs),
        }


def _mean(total: float, count: int) -> float | None:
    return round(total / count, 4) if count else None


def _messages(record: Record) -> Iterator[Message]:
    yield from record.context
    for candidate in record.candidates:
        yield from candidate.messages
