"""Rankings of expert writers: texts and writers from the file beside, means as in the facts."""

import gzip
import json
from pathlib import Path

import pytest

from prefine.errors import RecordError, TooManyRejects
from prefine.records import load
from prefine.records.formats import FORMATS
from prefine.records.formats.format import Where

SAMPLES = Path(__file__).parent / "samples"
# The first row of batch1/annotator_01_rankings.json.
ROW = json.loads((SAMPLES / "creativity_rankings.json").read_text("utf-8"))


def read(row, name="x.json", folder=None):
    return FORMATS["creativity_rankings"].read(row, Where(name, 0, folder=folder))


def test_one_real_row(shared_data):
    path = shared_data("creativity_eval/preference_ranking/batch1/annotator_01_rankings.json")
    record = load(path)[0]
    assert record.judgments[0].ranks == {"Response 1": 2, "Response 2": 1, "Response 3": 3}
    assert record.judgments[0].rater.id == "annotator_01"
    assert [c.origin.model for c in record.candidates] == [
        "AI-generated",
        "Human-edited",
        "AI-edited",
    ]
    assert record.source.row == "writer_14_batch1_19"
    assert record.context[0].text.startswith("What is the story behind the politician")
    assert record.candidates[0].text.startswith("The politician entered the quiet restaurant")


def test_without_the_texts_the_places_are_items():
    record = read(ROW)
    assert [c.messages[0].content[0].id for c in record.candidates] == [
        "Response 1",
        "Response 2",
        "Response 3",
    ]
    assert record.judgments[0].rater.type == "unknown"


def test_agrees_with_the_facts(shared_data):
    facts = json.loads(shared_data("FACTS.json").read_text())["creativity/preference_ranking"]
    folder = shared_data("creativity_eval/preference_ranking")
    ranks, raters = {}, set()
    for path in sorted(folder.glob("batch*/*_rankings.json")):
        for record in load(path):
            [ranking] = record.judgments
            raters.add(ranking.rater.id)
            for candidate in record.candidates:
                ranks.setdefault(candidate.origin.model, []).append(ranking.ranks[candidate.id])
    means = {writer: sum(of) / len(of) for writer, of in ranks.items()}
    assert {len(of) for of in ranks.values()} == {facts["rankings"]}
    assert len(raters) == facts["annotators"]
    assert means == pytest.approx(
        {
            "Human-edited": facts["mean rank human-edited"],
            "AI-generated": facts["AI-generated"],
            "AI-edited": facts["AI-edited"],
        },
        abs=1e-4,
    )


TEXTS = {
    "instruction": "Why?",
    "responses": ["a", "b", "c"],
    "mapping": {
        "Response 1": "AI-generated",
        "Response 2": "Human-edited",
        "Response 3": "AI-edited",
    },
    "id": "w1",
    "instruction_id": 1,
}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"responses": ["a", "b"]}, "must hold 3 texts"),
        ({"responses": "a"}, "must be a list of texts"),
        ({"mapping": {}}, "must hold 3 texts"),
        ({"mapping": TEXTS["mapping"] | {"Response 3": "Human-Written"}}, "`mapping` must name"),
        ({"instruction_id": 2}, "has no instruction 1"),
        ({"colour": 1}, "unknown key `colour`"),
    ],
)
def test_texts_refused(tmp_path, change, said):
    with gzip.open(tmp_path / "ann.json.gz", "wt") as file:
        json.dump([TEXTS | change], file)
    (tmp_path / "ann_rankings.json").write_text(json.dumps([ROW]))
    with pytest.raises(TooManyRejects, match=said):
        load(tmp_path / "ann_rankings.json", rejects=tmp_path / "r.jsonl")


def test_a_response_named_twice_is_refused():
    with pytest.raises(RecordError, match="the ranks must name Response 1"):
        read({**ROW, "rank_3": "Response 2"})
