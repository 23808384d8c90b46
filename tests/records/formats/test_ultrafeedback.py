"""UltraFeedback: four answers with ratings, and the pairs that others made of it."""

import copy
import json

import pytest

from prefine.errors import RecordError
from prefine.records import Records, load
from prefine.records.formats import FORMATS
from prefine.records.formats.format import Where


def read(name, row):
    return FORMATS[name].read(row, Where("x", 0))


# --- The original -------------------------------------------------------------------------------


@pytest.fixture
def row(sample):
    return sample("ultrafeedback")


def test_one_real_row(row):
    record = read("ultrafeedback", row)
    [answer] = record.candidates
    assert record.context[0].text == row["instruction"]
    assert record.tags == {"source": "truthful_qa"}
    assert (answer.origin.model, answer.stats) == ("llama-2-13b-chat", {"fine-grained_score": 4.5})
    assert answer.origin.system.startswith("As an AI assistant")
    assert answer.origin.sampling == {"principle": "truthfulness"}
    scores = {j.aspect: j.scores["c0"] for j in record.judgments}
    assert scores == {
        "helpfulness": 4,
        "honesty": 5,
        "instruction_following": 4,
        "truthfulness": 5,
        "overall": 7.5,
    }
    scales = {j.aspect: j.scale for j in record.judgments}
    assert (scales["honesty"], scales["overall"]) == ((1, 5), (1, 10))
    # Where GPT-4 gave two reasons, the one for the number is the reason; both stay in `raw`.
    assert record.judgments[0].rationale == "The text is highly informative [...]"
    assert json.loads(record.judgments[0].raw)["Type"] == ["1", "2", "3"]
    assert record.judgments[4].rationale.startswith("The answer is well-structured")
    # Three completions are cut from the row, so `models` says more than the completions do.
    assert len(record.meta["models"]) == 4
    assert len(record.meta["correct_answers"]) == 3


def test_not_applicable_is_no_score_and_nonsense_is_unreadable(row):
    ratings = row["completions"][0]["annotations"]
    ratings["honesty"]["Rating"] = "N/A"
    ratings["truthfulness"]["Rating"] = "4 or 5"
    found = {j.aspect: j for j in read("ultrafeedback", row).judgments}
    assert (found["honesty"].valid, found["honesty"].scores) == (True, {"c0": None})
    assert (found["truthfulness"].valid, found["truthfulness"].scores) == (False, None)
    assert "4 or 5" in found["truthfulness"].error
    record = read("ultrafeedback", row)
    assert list(FORMATS["ultrafeedback"].write(record)) == [row]


def test_views_of_two_answers(row):
    second = copy.deepcopy(row["completions"][0])
    second |= {"model": "vicuna-33b", "response": "Clouds.", "overall_score": 3.0}
    second["annotations"]["helpfulness"]["Rating"] = "5"
    row["completions"].append(second)
    records = load([row])
    assert records.format == "ultrafeedback"
    [overall] = records.pairs().rows
    [helpful] = records.pairs(aspect="helpfulness").rows
    assert overall["utility"] == [7.5, 3.0]
    assert helpful["utility"] == [5.0, 4.0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"completions": {}}, "`completions` must be a list of objects, got an object"),
        ({"completions": [3]}, r"`completions\[0\]` must be an object, got a number"),
        ({"completions": [{"response": 3}]}, r"completions\[0\]: `response` must be text"),
        ({"instruction": None}, "`instruction` is missing"),
    ],
)
def test_refused(row, change, said):
    with pytest.raises(RecordError, match=said):
        read("ultrafeedback", {**row, **change})


def test_a_score_outside_the_scale_is_refused(row):
    row["completions"][0]["overall_score"] = 11
    with pytest.raises(RecordError, match="must be at most 10, got 11"):
        read("ultrafeedback", row)


def test_what_cannot_be_written_is_listed(make_record, vote):
    """A comparison has no place in UltraFeedback; the answers have."""
    record = make_record(("yes", "no"), [vote("c0")])
    [written] = FORMATS["ultrafeedback"].write(record)
    assert [c["response"] for c in written["completions"]] == ["yes", "no"]
    assert "comparisons" in FORMATS["ultrafeedback"].losses(record)


# --- The pairs of others ------------------------------------------------------------------------


def test_binarised(sample):
    row = sample("ultrafeedback_binarized")
    record = read("ultrafeedback_binarized", row)
    assert record.context[0].text == row["prompt"]
    assert [c.text[:10] for c in record.candidates] == ["Developing", "As an AI l"]
    pair, rate = record.judgments
    assert pair.winner == "c0"
    assert rate.scores == {"c0": 8.5, "c1": 8.5}  # the source chose between equals
    assert record.tags == {"prompt_id": row["prompt_id"]}
    assert not record.meta


def test_messages_of_another_split_are_kept(sample):
    row = sample("ultrafeedback_binarized")
    row["messages"] = row["messages"][:1]
    record = read("ultrafeedback_binarized", row)
    assert record.meta == {"messages": row["messages"]}
    assert list(FORMATS["ultrafeedback_binarized"].write(record)) == [row]


def test_argilla(sample):
    row = sample("ultrafeedback_argilla")
    record = read("ultrafeedback_argilla", row)
    pair, rate = record.judgments
    assert (pair.winner, rate.scores, rate.scale) == ("c0", {"c0": 5.0, "c1": 1.25}, (1, 5))
    assert [c.origin.model for c in record.candidates] == ["starchat", "pythia-12b"]
    assert record.tags == {"source": "evol_instruct"}


def test_all_answers_of_one_model(sample):
    row = sample("ultrafeedback_on_policy")
    record = FORMATS["ultrafeedback_on_policy"].read(row, Where("x.jsonl", 0))
    assert [c.text for c in record.candidates] == ["the best", "in between", "the worst"]
    score, pair = record.judgments
    assert score.scores == {"c0": 0.15, "c1": 0.12, "c2": 0.09}
    assert (pair.shown, pair.winner, pair.rater.type) == (("c0", "c2"), "c0", "model")
    assert record.tags == {"prompt_id": "..."}
    assert len(load([row]).lists().rows[0]["responses"]) == 3


def test_equal_answers_of_one_model(sample):
    """Of two equal texts the chosen one is that with the higher score."""
    row = sample("ultrafeedback_on_policy") | {
        "all_generated_responses": ["the best", "the worst", "the best", "the worst"],
        "all_rm_scores": [0.1, 0.0, 0.3, -0.2],
    }
    found = FORMATS["ultrafeedback_on_policy"]
    record = found.read(row, Where("x.jsonl", 0))
    assert record.judgments[1].shown == ("c2", "c3")
    assert list(found.write(record)) == [row]
    same = row | {"all_rm_scores": [0.1] * 4, "rejected": row["chosen"]}
    alone = found.read(same, Where("x.jsonl", 0))
    assert [judgment.kind for judgment in alone.judgments] == ["rate"]
    assert list(found.write(alone)) == [same]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"all_rm_scores": [1]}, "3 `all_generated_responses`, 1 `all_rm_scores`"),
        ({"all_generated_responses": ["a", "b", "c"]}, "the answer of `chosen` is not among"),
        ({"prompt": "Other?"}, "`chosen` must be the prompt and one answer"),
    ],
)
def test_answers_of_one_model_refused(sample, change, said):
    row = sample("ultrafeedback_on_policy") | change
    with pytest.raises(RecordError, match=said):
        FORMATS["ultrafeedback_on_policy"].read(row, Where("x.jsonl", 0))


def test_a_trl_pair_stays_a_trl_pair(sample):
    """Only the columns of a published set make a row that set's."""
    row = sample("ultrafeedback_binarized")
    plain = {key: row[key] for key in ("prompt", "chosen", "rejected")}
    assert load([plain]).format == "trl_preference"
    assert load([row]).format == "ultrafeedback_binarized"


def test_export_writes_the_row_and_loses_nothing(sample, tmp_path):
    row = sample("ultrafeedback_argilla")
    exported = load([row]).export("ultrafeedback_argilla", tmp_path / "out.jsonl")
    assert json.loads((tmp_path / "out.jsonl").read_text("utf-8")) == row
    assert (exported.rows, dict(exported.losses)) == (1, {})


def test_a_third_answer_is_not_dropped_in_silence(make_record, ranking, tmp_path):
    record = make_record(("a", "b", "c"), [ranking({"c0": 1, "c1": 2, "c2": 3})])
    exported = Records.of([record]).export("ultrafeedback_argilla", tmp_path / "out.jsonl")
    assert (exported.rows, dict(exported.losses)) == (0, {"the whole record": 1})
