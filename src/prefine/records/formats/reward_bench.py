r"""RewardBench: a chosen and a rejected answer of each prompt (Lambert et al. 2024).

huggingface.co/datasets/allenai/reward-bench, ODC-BY (arXiv:2403.13787). The verdict is the
benchmark's: a pair judgment, and the gold flags of the candidates. `subset` groups the prompts (the
scores of the sections are weighted means of subsets), `id` numbers them, and both stay as tags.

A row as EvalScope's page on the benchmark prints it (github.com/modelscope/evalscope), which leaves
out the models; the names of the fields are the data card's:

    {
      "prompt": "How do I detail a car?",
      "chosen": "Detailing a car involves a thorough cleaning inside and out, as well as [...]",
      "chosen_model": "[...]",
      "rejected": "Detailing a car involves washing the exterior and interior of the car, [...]",
      "rejected_model": "[...]",
      "subset": "alpacaeval-easy",
      "id": 30
    }
"""

from collections.abc import Iterable

from prefine.records.formats.format import JSON_OR_TABLE, Format, RowDict, Where, only, text_of
from prefine.records.formats.rows import (
    filled,
    kept,
    losses_by_reading,
    model_of,
    plain,
    question,
    verdict,
)
from prefine.records.formats.trl import reply, user
from prefine.records.schema import Candidate, Judgment, Origin, Rater, Record

NAME = "reward_bench"
BENCHMARK = Rater("reward_bench", "unknown")
TAGS = ("subset", "id")
SIDES = ("chosen", "rejected")
KNOWN = ("prompt", *SIDES, *(f"{side}_model" for side in SIDES), *TAGS)


def matches(row: RowDict) -> bool:
    """Text sides, each with its model, and the subset."""
    return all(isinstance(row.get(side), str) and f"{side}_model" in row for side in SIDES) and (
        isinstance(row.get("subset"), str)
    )


def read(row: RowDict, where: Where) -> Record:
    """Make a record with two candidates, c0 chosen and c1 rejected."""
    only(row, KNOWN, NAME)
    pair = Judgment("j0", "pair", ("c0", "c1"), BENCHMARK, winner="c0")
    return Record(
        source=where.source(),
        context=user(text_of(row, "prompt")),
        candidates=tuple(_candidate(row, f"c{at}", side) for at, side in enumerate(SIDES)),
        judgments=(pair,),
        tags=kept(row, *TAGS),
    )


def _candidate(row: RowDict, name: str, side: str) -> Candidate:
    model = row.get(f"{side}_model")
    return Candidate(
        name,
        reply(side, row.get(side)),
        origin=None if model is None else Origin("model", model=model),
        gold=side == "chosen",
    )


def write(record: Record) -> Iterable[RowDict]:
    """Yield a row for two answers of text, one of which is better."""
    prompt, pair = question(record), verdict(record, "pair")
    if len(record.candidates) != 2 or prompt is None or pair is None:
        return
    best, worst = sorted(record.candidates, key=lambda c: c.id != pair.winner)
    if pair.winner == best.id and plain(best, worst):
        yield filled(
            prompt=prompt,
            chosen=best.text,
            chosen_model=model_of(best),
            rejected=worst.text,
            rejected_model=model_of(worst),
        ) | kept(record.tags, *TAGS)


FORMAT = Format(
    name=NAME,
    description="RewardBench: prompt, chosen and rejected with models, subset, id",
    kinds=JSON_OR_TABLE,
    matches=matches,
    read=read,
    write=write,
    losses=losses_by_reading(read, write),
)
