"""EvalBiasBench (Park et al. 2024, arXiv:2407.06551, BSD-3-Clause): pairs that trap biased judges.

github.com/ncsoft/offsetbias keeps the pairs in one object, a list of them for each bias: save the
lists as one list first. `label` (1 or 2) says which response is
better: a pair judgment, and the gold flags of the candidates. The bias is the tag `bias`. The first
pair, texts cut at […]:

    {"bias": "length bias",
     "instruction": "Write a script for a 10-second conversation between two characters.",
     "response1": "Person A: Hi, how are you? […]",
     "response2": "Person A: Hi, I'm John. […]", "label": 1}
"""

from collections.abc import Iterable

from prefine.errors import RecordError
from prefine.records.codec import short
from prefine.records.formats.format import (
    JSON_OR_TABLE,
    Format,
    RowDict,
    Where,
    number_of,
    only,
    text_of,
)
from prefine.records.formats.rows import kept, losses_by_reading, plain, question, verdict
from prefine.records.formats.trl import reply, user
from prefine.records.schema import Candidate, Judgment, Rater, Record

NAME = "evalbiasbench"
KNOWN = ("bias", "instruction", "response1", "response2", "label")
BENCHMARK = Rater(NAME, "unknown")


def matches(row: RowDict) -> bool:
    """A pair, and the bias it traps."""
    return all(key in row for key in KNOWN)


def read(row: RowDict, where: Where) -> Record:
    """Make a record with two candidates, c0 is response1."""
    only(row, KNOWN, NAME)
    label = number_of(row, "label")
    if label not in (1, 2):
        raise RecordError(f"`label` must be 1 or 2, got {short(row.get('label'))}.")
    candidates = tuple(
        Candidate(f"c{at - 1}", reply(key, row.get(key)), gold=at == label)
        for at, key in ((1, "response1"), (2, "response2"))
    )
    best = Judgment("j0", "pair", ("c0", "c1"), BENCHMARK, winner=f"c{int(label) - 1}")
    return Record(
        source=where.source(),
        context=user(text_of(row, "instruction")),
        candidates=candidates,
        judgments=(best,),
        tags={"bias": text_of(row, "bias")},
    )


def write(record: Record) -> Iterable[RowDict]:
    """Yield a row for two texts of which one is better."""
    asked, pair = question(record), verdict(record, "pair")
    if asked is None or pair is None or len(record.candidates) != 2:
        return
    names = [candidate.id for candidate in record.candidates]
    if pair.winner not in names or not plain(*record.candidates) or "bias" not in record.tags:
        return
    yield {
        **kept(record.tags, "bias"),
        "instruction": asked,
        "response1": record.candidates[0].text,
        "response2": record.candidates[1].text,
        "label": names.index(pair.winner) + 1,
    }


FORMAT = Format(
    name=NAME,
    description="EvalBiasBench: bias, instruction, response1, response2, label",
    kinds=JSON_OR_TABLE,
    matches=matches,
    read=read,
    write=write,
    losses=losses_by_reading(read, write),
)
