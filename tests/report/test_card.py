import yaml
from huggingface_hub import ModelCard
from tests.report.test_run import SUMMARY

from prefine.report import model_card
from prefine.report.card import escape


def test_the_card_says_what_the_report_says(tmp_path):
    card = model_card(
        SUMMARY,
        name="Tiny DPO",
        base_model="org/tiny-llama",
        datasets=["org/pairs"],
        license="apache-2.0",
        meanings={"accuracy": "share right"},
    )
    card.save(tmp_path / "README.md")
    read = ModelCard.load(tmp_path / "README.md")
    assert read.data.base_model == "org/tiny-llama"
    assert read.data.datasets == ["org/pairs"]
    assert read.data.library_name == "transformers"
    assert read.data.pipeline_tag == "text-generation"
    assert "dpo" in read.data.tags
    for line in (
        "# Tiny DPO",
        "-log s(beta (r_w - r_l))",
        "| accuracy | 0.70 | 0.40 to 0.89 | 10 | wilson | share right |",
        "| tie | 3 |",
        "- 2 prompts were cut on the left.",
        "| seed | 7 |",
    ):
        assert line in read.text, line


def test_the_hub_reads_the_numbers_with_their_intervals(tmp_path):
    card = model_card(SUMMARY, name="Tiny DPO", datasets=["org/pairs"])
    card.save(tmp_path / "README.md")
    read = {
        result.metric_type: result
        for result in ModelCard.load(tmp_path / "README.md").data.eval_results
    }
    accuracy = read["accuracy"]
    assert accuracy.metric_value == 0.7
    assert accuracy.dataset_type == "org/pairs"
    low, high = accuracy.metric_args["low"], accuracy.metric_args["high"]
    assert (round(low, 2), round(high, 2)) == (0.4, 0.89)
    assert (accuracy.metric_args["n"], accuracy.metric_args["method"]) == (10, "wilson")
    assert read["baseline_longer"].metric_value == 0.5


def test_a_number_that_is_not_finite_is_left_out():
    nothing = {"value": None, "low": None, "high": None, "n": 0, "method": "no observations"}
    card = model_card(
        {"objective": "dpo", "model": "m", "metrics": {"accuracy": nothing}}, name="n"
    )
    assert card.data.eval_results is None


def test_the_card_says_what_the_data_is():
    data = {
        "data": "pairs.jsonl", "format": "trl_preference", "fingerprint": "77aa", "records": 100,
        "rejects": 2, "licences": {"cc-by-4.0": 60, "not stated": 40},
    }  # fmt: skip
    text = model_card(SUMMARY | {"data": data}, name="n", base_model="org/base").text
    assert "preference data, from org/base." in text
    for line in (
        "| from | pairs.jsonl |",
        "| prompts that could be read | 100 |",
        "| rows that could not be read | 2 |",
        "| licences, with the records that name them | cc-by-4.0 60; not stated 40 |",
    ):
        assert line in text, line


def test_a_reward_model_is_called_one():
    card = model_card({"objective": "reward", "unit": "reward", "model": "m"}, name="r")
    assert card.data.pipeline_tag == "text-classification"
    assert "A reward model trained with prefine" in card.text
    assert "Nothing was held out" in card.text
    assert "every row was used" in card.text


def test_foreign_names_write_neither_markdown_nor_templates():
    nasty = "a|b\n# heading <script>x</script> {{ 7*7 }} [l](u) `c`"
    summary = SUMMARY | {"model": nasty, "formula": "```\n# out\n```", "notes": [nasty]}
    card = model_card(summary, name=nasty)
    lines = card.text.splitlines()
    assert [line for line in lines if line.startswith("#")] == [
        f"# {escape(nasty)}",
        "## What it minimised",
        "# out",
        "## How it was trained",
        "## The data",
        "## Held-out results",
        "## What was set aside",
        "## To repeat it",
    ]
    fence = lines.index("````text")
    assert lines[fence : fence + 5] == ["````text", "```", "# out", "```", "````"]
    assert "<script>" not in card.text
    assert "49" not in card.text
    assert card.text.count(escape(nasty)) == 3


def test_the_header_stays_yaml():
    card = model_card({"objective": "mod: [x\n- y", "model": "m"}, name="n", datasets=["a: b"])
    header = card.content.split("---\n")[1]
    assert yaml.safe_load(header)["datasets"] == ["a: b"]
    assert yaml.safe_load(header)["tags"][-1] == "mod: [x\n- y"
