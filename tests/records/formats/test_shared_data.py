"""Every set beside the repository: read in its own format, or refused in words.

That the sets meet `FACTS.json` is tested with each format.
"""

import pytest

from prefine.errors import FormatError, RecordError
from prefine.records import load

READ = {
    "hh_helpful/helpful-base/test.jsonl.gz": "hh_rlhf",
    "ukp_convarg1/UKPConvArg1-full-XML/"
    "ban-plastic-water-bottles_no-bad-for-the-economy.xml.gz": "ukp_convarg_xml",
    "llmfao/crowd-comparisons.csv.gz": "llmfao",
    "llmbar/LLMBar/Natural/dataset.json.gz": "llmbar",
    "pandalm/testset-v1.json.gz": "pandalm",
    "squality_human_eval/all-responses.jsonl.gz": "squality",
    "creativity_eval/LAMP/reannotation/W12_edits.json.gz": "creativity_edits",
    "creativity_eval/preference_ranking/batch1/annotator_01_rankings.json": "creativity_rankings",
    "fine_grained_qa_feedback/dev_feedback.json.gz": "fine_grained_qa",
    "polis/brexit-consensus/votes.csv.gz": "polis_votes",
    "cpcd/cpcd_v1.dialogs.dev.val.jsonl.gz": "cpcd",
    "t2i_human/imagereward/test.json.gz": "imagereward",
    "evalica_toys/food.csv": "vote_table",
}
REFUSED = {
    "evalbiasbench/biasbench.json": "If the rows stand under a key, save that list alone",
    "prometheus_rubrics/mt_bench_eval.json.gz": "fits no format",
    "bon16_length/samples.csv.gz": "fits no format",  # numbers without the texts
    "open_bandit/random/men/men.csv.gz": "column 1 has no name",
    "mt_bench_questions/mt_bench/question.jsonl": "fits no format",  # questions, no answers
}


@pytest.mark.parametrize("name", READ)
def test_read(shared_data, tmp_path, name):
    records = load(shared_data(name), rejects=tmp_path / "r.jsonl")
    assert records.format == READ[name]
    assert (len(records) > 0, records.rejects.count) == (True, 0)


@pytest.mark.parametrize("name", REFUSED)
def test_refused_in_words(shared_data, name):
    with pytest.raises((FormatError, RecordError), match=REFUSED[name]):
        load(shared_data(name))


def test_no_set_is_forgotten(shared_data):
    folders = {path.name for path in shared_data("FACTS.json").parent.iterdir() if path.is_dir()}
    assert folders == {name.split("/")[0] for name in (*READ, *REFUSED)}
