"""The report of a run, from plain facts: what was trained on what, and what came of it."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from prefine.evaluation.calibration import reliability
from prefine.evaluation.grids import MEANINGS as OF_GRIDS
from prefine.evaluation.ranking import MEANINGS
from prefine.report.html import render
from prefine.report.run import run_report
from prefine.storage import atomic_text
from prefine.training.shown import png

if TYPE_CHECKING:
    from prefine.training.outcome import Outcome
    from prefine.training.plan import Plan

SAMPLES = 6

MORE_MEANINGS = {
    "log_prob_per_token": "mean log-probability of a token of the response, nats",
    "best_is_first": "share of lists whose best response gained most against the reference, or is "
    "the likeliest without one",
    "error": "squared error of a denoising step, at fixed times and noises",
}

LABEL_ACCURACY = "share of responses that gained against the reference if liked, or lost if not"
"""What `accuracy` says of single responses, which have no pair to be ordered in."""


def write_report(plan: "Plan", summary: dict[str, Any], outcome: "Outcome") -> None:
    """Write `report.html` into the run's folder."""
    facts = run_facts(plan, summary, outcome)
    with atomic_text(plan.folder.path / "report.html") as handle:
        handle.write(render(run_report(facts)))


def run_facts(plan: "Plan", summary: dict[str, Any], outcome: "Outcome") -> dict[str, Any]:
    """Collect what the report shows."""
    facts: dict[str, Any] = {
        "summary": summary,
        "metrics": plan.folder.metrics(),
        "sample": plan.data.sample,
        "config": plan.folder.config_file.read_text(encoding="utf-8"),
        "meanings": {**MEANINGS, **MORE_MEANINGS, **OF_GRIDS},
        "samples": [
            _sample(plan, row, scores)
            for row, scores in zip(outcome.rows[:SAMPLES], outcome.scores, strict=False)
        ],
    }
    if outcome.shown:
        facts["shown"] = [
            {
                "prompt": before.caption,
                "responses": [
                    {"name": "before", "text": "", "picture": before.picture},
                    {"name": "after", "text": "", "picture": after.picture},
                ],
            }
            for before, after in outcome.shown
        ]
    if plan.declared.data == "point":
        facts["meanings"]["accuracy"] = LABEL_ACCURACY
    if outcome.scores and plan.data.held_out_view.kind == "pair":
        margins = _margins(outcome)
        facts["margins"] = margins
        if plan.pictures is None:
            facts["length_gaps"] = [
                float(row["mask"][0].sum()) - float(row["mask"][1].sum()) for row in outcome.rows
            ]
        if plan.adapter.unit == "reward":
            facts["reliability"] = list(reliability(margins, _outcomes(outcome.rows)))
    return facts


def _margins(outcome: "Outcome") -> list[float]:
    """Chosen minus rejected: of rewards, of log-ratios, or of log-probabilities."""
    base = outcome.reference or [[0.0] * len(scores) for scores in outcome.scores]
    return [
        (scores[0] - other[0]) - (scores[1] - other[1])
        for scores, other in zip(outcome.scores, base, strict=True)
    ]


def _outcomes(rows: Sequence[Mapping[str, Any]]) -> list[float]:
    return [0.5 if row["tie"] else 1.0 if row["prob"] is None else row["prob"] for row in rows]


def _sample(plan: "Plan", row: Mapping[str, Any], scores: Sequence[float]) -> dict[str, Any]:
    view_row = plan.data.held_out_view.rows[row["at"]]
    prompts = [json.loads(text) for text in view_row["prompts"]]
    responses = [json.loads(text) for text in view_row["responses"]]
    shown = [
        {
            "name": item["role"],
            **_said(plan, responses[item["response"]]),
            f"score ({plan.adapter.unit})": f"{score:.3g}",
        }
        for item, score in zip(view_row["items"], scores, strict=False)
    ]
    return {"prompt": _text(prompts[0]["messages"]), "responses": shown}


def _said(plan: "Plan", messages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    if plan.pictures is None:
        return {"text": _text(messages)}
    return {"text": "", "picture": png(plan.adapter.prepare_view.picture_of(messages))}


def _text(messages: Sequence[Mapping[str, Any]]) -> str:
    def content(message: Mapping[str, Any]) -> str:
        said = message.get("content")
        return said if isinstance(said, str) else json.dumps(said, ensure_ascii=False)

    if len(messages) == 1:
        return content(messages[0])
    return "\n\n".join(f"{message['role']}: {content(message)}" for message in messages)
