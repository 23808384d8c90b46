import pytest

from prefine.errors import ConfigError
from prefine.report import Code, Facts, Gallery, Samples, SetAside, Stats, render, run_report
from prefine.report.panels import training_curves
from prefine.statistics import wilson

SUMMARY = {
    "objective": "dpo",
    "formula": "-log s(beta (r_w - r_l))",
    "reference": "cached, weights 12ab34",
    "model": "somewhere/tiny-llama",
    "weights": "12ab34",
    "data": {"data": "pairs.jsonl", "fingerprint": "77aa"},
    "rows": {"train": 90, "held_out": 10},
    "set_aside": {"tie": 3, "identical responses": 2},
    "notes": ["2 prompts were cut on the left."],
    "seed": 7,
    "versions": {"torch": "2.13.0"},
    "adapter": {"max_length": 64},
    "steps": 2,
    "metrics": {"accuracy": wilson(7, 10).to_json(), "baseline_longer": wilson(5, 10)},
    "something_new": "kept",
}

ROWS = [
    {"step": 1, "epoch": 0.5, "loss": 0.7, "rewards/chosen": 0.1, "rewards/rejected": 0.0},
    {"step": 2, "epoch": 1.0, "loss": 0.6, "rewards/chosen": 0.2, "rewards/rejected": -0.1},
    {"step": 2, "eval_loss": 0.65, "eval_odd": 3},
]

RUN = {
    "summary": SUMMARY,
    "metrics": ROWS,
    "margins": [0.5, -0.2, 0.7],
    "length_gaps": [3, -2, 8],
    "reliability": [(0.6, 0.5, 2), (0.9, 1.0, 1)],
    "samples": [
        {
            "prompt": "Say <b>hi</b>",
            "responses": [
                {"name": "chosen", "spans": [["user:", False], ["hi", True]], "reward": 1.5},
                {"name": "rejected", "text": "no", "reward": -0.5},
            ],
        }
    ],
    "sample": "<bos>user hi [[hello<eos>]]",
    "config": "objective: dpo\n",
    "meanings": {"accuracy": "share right"},
}


def blocks(report, kind):
    return [
        block for section in report.sections for block in section.blocks if isinstance(block, kind)
    ]


def test_everything_that_is_known_is_on_the_page():
    report = run_report(RUN)
    assert [section.title for section in report.sections] == [
        "What was trained",
        "Held-out results",
        "Curves",
        "Samples",
        "What was set aside",
        "To repeat this run",
    ]
    page = render(report)
    for piece in (
        "dpo of tiny-llama",
        "-log s(beta (r_w - r_l))",
        "cached, weights 12ab34",
        "77aa",
        "2.13.0",
        "something new",
        "kept",
        "identical responses",
        "2 prompts were cut on the left.",
        "Say &lt;b&gt;hi&lt;/b&gt;",
        "[[hello&lt;eos&gt;]]",
        "objective: dpo",
        "share right",
        "max_length",
    ):
        assert piece in page, piece
    assert "Trained on 90 rows in 2 steps. Held-out accuracy 0.70 (0.40 to 0.89)." in report.summary


def test_a_policy_is_summed_up_by_its_reward():
    metrics = SUMMARY["metrics"] | {"reward_accuracy": wilson(9, 10)}
    summary = SUMMARY | {"metrics": metrics, "model": "out/sft/model"}
    report = run_report({"summary": summary})
    assert "Held-out reward accuracy 0.90" in report.summary
    assert report.title == "dpo of sft/model"


def test_the_parts_by_kind():
    report = run_report(RUN)
    assert blocks(report, SetAside) == [SetAside(SUMMARY["set_aside"], used=100)]
    assert set(blocks(report, Stats)[0].rows) == {"accuracy", "baseline_longer"}
    assert len(blocks(report, Gallery)[0].figures) == 3
    assert len(blocks(report, Samples)) == 1
    assert len(blocks(report, Code)) == 2
    assert blocks(report, Facts)[0].rows["seed"] == 7


def test_only_a_summary_is_needed():
    report = run_report({"summary": {"objective": "sft", "model": "m"}})
    assert "nothing was measured" in render(report)


def test_what_would_not_be_shown_is_refused():
    with pytest.raises(ConfigError, match="does not show 'marginz'"):
        run_report({"summary": SUMMARY, "marginz": []})


def test_every_metric_is_drawn_once_held_out_beside_training():
    told = [figure.alt for figure in training_curves(ROWS)]
    assert told == [
        "loss by step. train: from 0.7 to 0.6, lowest 0.6, highest 0.7. "
        "held out: from 0.65 to 0.65, lowest 0.65, highest 0.65.",
        "reward by step. chosen: from 0.1 to 0.2, lowest 0.1, highest 0.2. "
        "rejected: from 0 to -0.1, lowest -0.1, highest 0.",
        "odd by step. held out: from 3 to 3, lowest 3, highest 3.",
    ]
