r"""Fine-grained feedback on long answers (Wu et al. 2023, arXiv:2306.01693, Apache-2.0).

A row of tasks/qa_feedback/data (github.com/allenai/FineGrainedRLHF) is a question with passages to
answer it from, and four predictions. `preference` compares (1,2), (1,3), (1,4), (2,3), (2,4) and
(3,4): 0 equal, 1 the first better, 2 the second. On prediction 1 somebody marked errors (each a
signal against it, with its type, where it stands and why) and corrected it (an edit; where nothing
was changed there is none). The reference answer and what the answer missed stay in `meta`. The
first row of dev_feedback.json, texts cut at […]:

    {"question": "[…] the name of the evil queen in snow white?",
     "passages": [["Evil Queen (Disney)", "Brigitte Nielsen said she based her role […]", …], …],
     "gold": "In the 1937 Walt Disney film Snow White and the Seven Dwarfs, […]",
     "prediction 1": "The Evil Queen, also known as the Wicked Queen […]", […]
     "feedback": {"errors": [{"error type": "Irrelevant", "explanation": "", "start": 260,
       "end": 330}, …], "missing-info": […], "corrected-prediction": "The Evil Queen, […]"},
     "preference": [0, 1, 1, 0, 1, 1]}
"""

from collections.abc import Iterable, Iterator
from itertools import combinations
from typing import Any

from prefine.errors import RecordError
from prefine.records.codec import short
from prefine.records.formats.format import (
    Format,
    RowDict,
    Where,
    list_of,
    number_of,
    object_of,
    only,
    text_of,
)
from prefine.records.formats.rows import kept, losses_by_reading, objects, plain, texts, unnamed
from prefine.records.message import Message, Part
from prefine.records.schema import Candidate, Judgment, Origin, Rater, Record

NAME = "fine_grained_qa"
PREDICTIONS = tuple(f"prediction {at}" for at in (1, 2, 3, 4))
PAIRS = tuple(combinations(("c0", "c1", "c2", "c3"), 2))
META = ("gold",)
KNOWN = ("question", "passages", *PREDICTIONS, "feedback", "preference", *META)
OF_FEEDBACK = ("errors", "missing-info", "corrected-prediction")
OF_ERROR = ("error type", "explanation", "start", "end")
CORRECTED = "corrected"


def matches(row: RowDict) -> bool:
    """A question, predictions and six comparisons."""
    return all(key in row for key in ("question", "prediction 1", "feedback", "preference"))


def read(row: RowDict, where: Where) -> Record:
    """Make a record with the four predictions, and the corrected one if it differs."""
    only(row, KNOWN, NAME)
    feedback = object_of(row, "feedback")
    only(feedback, OF_FEEDBACK, f"`feedback` of {NAME}")
    candidates = [
        Candidate(f"c{at}", (Message("assistant", text_of(row, key)),), origin=Origin("model"))
        for at, key in enumerate(PREDICTIONS)
    ]
    judgments = [*_comparisons(row, unnamed(where, 0)), *_errors(feedback, unnamed(where, 1))]
    corrected = text_of(feedback, "corrected-prediction")
    if corrected != candidates[0].text:
        said = (Message("assistant", corrected),)
        candidates.append(Candidate(CORRECTED, said, origin=Origin("edit", parent="c0")))
        edit: dict[str, Any] = {"edit_from": "c0", "edit_to": CORRECTED}
        judgments.append(Judgment("correction", "edit", ("c0",), unnamed(where, 1), **edit))
    passages = [_passage(at, value) for at, value in enumerate(list_of(row, "passages"))]
    asked = Part("text", text=text_of(row, "question"))
    return Record(
        source=where.source(),
        context=(Message("user", (*passages, asked)),),
        candidates=tuple(candidates),
        judgments=tuple(judgments),
        meta={**kept(row, *META), **kept(feedback, "missing-info")},
    )


def _passage(at: int, value: Any) -> Part:
    """Return a passage, whose sentences stay apart: what was missed is told by their numbers."""
    given = texts({"passages": value}, "passages")
    if not given:
        raise RecordError(f"passage {at} has no title.")
    title, *sentences = given
    return Part("document", title=title, text=" ".join(sentences), data=sentences)


def _comparisons(row: RowDict, rater: Rater) -> Iterator[Judgment]:
    values = list_of(row, "preference")
    if len(values) != len(PAIRS):
        raise RecordError(f"`preference` must hold 6 numbers, got {len(values)}.")
    for at, (value, pair) in enumerate(zip(values, PAIRS, strict=True)):
        if type(value) is not int or value not in (0, 1, 2):
            raise RecordError(f"`preference` must hold 0, 1 or 2, got {short(value)}.")
        yield Judgment(f"pair {at}", "pair", pair, rater, winner=("tie", *pair)[value])


def _errors(feedback: RowDict, rater: Rater) -> Iterator[Judgment]:
    for at, error in enumerate(objects(feedback, "errors")):
        only(error, OF_ERROR, f"an error of {NAME}")
        span = {key: number_of(error, key, low=0) for key in ("start", "end")}
        yield Judgment(
            f"error {at}",
            "signal",
            ("c0",),
            rater,
            target="c0",
            polarity=-1,
            category=(text_of(error, "error type"),),
            at=span,
            text=text_of(error, "explanation"),
        )


def write(record: Record) -> Iterable[RowDict]:
    """Yield a row for four texts that were compared with each other."""
    asked = _question(record)
    four = record.candidates[:4]
    if asked is None or [c.id for c in four] != ["c0", "c1", "c2", "c3"] or not plain(*four):
        return
    pairs = {j.shown: j.winner for j in record.judgments if j.kind == "pair" and j.valid}
    if not set(PAIRS) <= set(pairs) or any(pairs[p] not in ("tie", *p) for p in PAIRS):
        return
    errors = [
        {
            "error type": (j.category or ("",))[0],
            "explanation": j.text or "",
            "start": (j.at or {}).get("start"),
            "end": (j.at or {}).get("end"),
        }
        for j in record.judgments
        if j.kind == "signal" and j.target == "c0" and j.polarity == -1
    ]
    edited = next((c for c in record.candidates if c.id == CORRECTED), four[0])
    passages, question = asked
    yield {
        "question": question,
        "passages": passages,
        "gold": record.meta.get("gold"),
        **{key: c.text for key, c in zip(PREDICTIONS, four, strict=True)},
        "feedback": {
            "errors": errors,
            "missing-info": record.meta.get("missing-info"),
            "corrected-prediction": edited.text,
        },
        "preference": [("tie", *pair).index(str(pairs[pair])) for pair in PAIRS],
    }


def _question(record: Record) -> tuple[list[list[str]], str] | None:
    """Return passages and question of a prompt that is made of them, or None."""
    if len(record.context) != 1 or isinstance(record.context[0].content, str):
        return None
    *passages, question = record.context[0].content or (Part("image"),)
    if question.type != "text" or any(part.type != "document" for part in passages):
        return None
    given: list[list[str]] = []
    for part in passages:
        sentences: Any = part.data
        if not isinstance(sentences, list) or part.title is None:
            return None
        given.append([part.title, *(str(sentence) for sentence in sentences)])  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return given, question.text or ""


FORMAT = Format(
    name=NAME,
    description="Fine-grained QA feedback: four predictions, six comparisons, errors, a correction",
    kinds=frozenset({"json"}),
    matches=matches,
    read=read,
    write=write,
    losses=losses_by_reading(read, write),
)
