"""The report of one training run."""

from collections.abc import Mapping, Sequence
from typing import Any

from prefine.errors import ConfigError
from prefine.report.content import (
    Block,
    Code,
    Facts,
    Figure,
    Formula,
    Gallery,
    Prose,
    Report,
    Response,
    Sample,
    Samples,
    Section,
    SetAside,
    Span,
    Stats,
)
from prefine.report.figures import histogram, reliability_diagram, scatter
from prefine.report.panels import training_curves
from prefine.report.text import as_stats, interval_text, number, value_text
from prefine.statistics import Stat

Row = Mapping[str, Any]

KEYS = (
    "summary",
    "metrics",
    "margins",
    "length_gaps",
    "reliability",
    "samples",
    "shown",
    "sample",
    "config",
    "meanings",
)
"""What `run_report` reads of a run."""

ELSEWHERE = frozenset({"formula", "rows", "set_aside", "notes", "versions", "adapter", "metrics"})
"""Parts of a run's summary that have a place of their own; the rest are facts of the header."""


def run_report(run: Mapping[str, Any]) -> Report:
    """Build the report of a training run from plain data.

    Args:
        run: `summary`: the run's header (objective, formula, reference, model, data, rows,
            set_aside, notes, versions, ...) with `metrics`, name -> `Stat` or its JSON form.
            Where known also: `metrics`: one mapping a logged step, with `step`; `margins` [n]:
            chosen minus rejected score of held-out pairs, and `length_gaps` [n]: their lengths
            likewise; `reliability`: (confidence, share right, count) of each bin; `samples`:
            `{"prompt": text, "responses": [{"name": ..., "text": ... or "spans": [[text, scored],
            ...], `picture` where it is one, further facts}]}`; `shown`: pictures drawn before and
            after, as `samples`; `sample`: a decoded row with its mask; `config`: the resolved
            run.yaml; `meanings`: name -> what a number says.

    Returns:
        The report, for `prefine.report.html.render`.

    Raises:
        ConfigError: If `run` holds anything else, since that would not be shown.

    Example:
        >>> summary = {"objective": "dpo", "formula": "-log s(b(rw - rl))", "model": "tiny"}
        >>> [section.title for section in run_report({"summary": summary}).sections]
        ['What was trained', 'Held-out results', 'What was set aside', 'To repeat this run']
    """
    unknown = sorted(run.keys() - set(KEYS))
    if unknown:
        raise ConfigError(
            f"A run's report does not show {', '.join(map(repr, unknown))}, so they would be lost. "
            f"It shows: {', '.join(KEYS)}."
        )
    summary = run["summary"]
    results = as_stats(summary.get("metrics", {}))
    sections = [
        Section("What was trained", _header(summary)),
        Section("Held-out results", [Stats(results, run.get("meanings", {})), *_pictures(run)]),
        Section("Curves", _gallery(training_curves(run.get("metrics", [])))),
        Section("Pictures", _shown(run)),
        Section("Samples", _samples(run)),
        Section("What was set aside", _set_aside(summary)),
        Section("To repeat this run", _repeat(summary, run.get("config", ""))),
    ]
    return Report(
        title=f"{summary['objective']} of {_name(summary['model'])}",
        summary=_in_words(summary, results),
        sections=[section for section in sections if section.blocks],
    )


def _name(path: Any) -> str:
    """The last part of a path; the folder `model` of a run says nothing without the run's name."""
    parts = [part for part in str(path).split("/") if part]
    return "/".join(parts[-2:] if parts[-1:] == ["model"] else parts[-1:]) or str(path)


def _in_words(summary: Row, results: Mapping[str, Stat]) -> str:
    used = (summary.get("rows") or {}).get("train")
    parts = []
    if used is not None:
        steps = f" in {number(summary['steps'])} steps" if "steps" in summary else ""
        parts.append(f"Trained on {number(used)} rows{steps}.")
    if "reward_accuracy" in results:
        parts.append(f"Held-out reward accuracy {_with_interval(results['reward_accuracy'])}.")
    elif "accuracy" in results:
        parts.append(f"Held-out accuracy {_with_interval(results['accuracy'])}.")
    if "baseline_longer" in results:
        longer = _with_interval(results["baseline_longer"])
        parts.append(f"Preferring the longer response gets {longer}.")
    return " ".join(parts)


def _with_interval(stat: Stat) -> str:
    return f"{value_text(stat)} ({interval_text(stat)})"


def _header(summary: Row) -> list[Block]:
    facts = {name: value for name, value in summary.items() if name not in ELSEWHERE}
    rows = summary.get("rows")
    if rows:
        facts["rows"] = rows
    blocks: list[Block] = [Facts({name.replace("_", " "): facts[name] for name in facts})]
    if summary.get("formula"):
        blocks.insert(0, Formula(summary["formula"]))
    return blocks


def _pictures(run: Row) -> list[Block]:
    figures: list[Figure] = []
    margins, gaps = run.get("margins"), run.get("length_gaps")
    if margins is not None and len(margins):
        figures.append(histogram({"held out": margins}, xlabel="margin"))
    if margins is not None and gaps is not None and len(margins):
        figures.append(
            scatter(
                gaps,
                margins,
                xlabel="length of chosen minus length of rejected",
                ylabel="margin",
                caption="The line joins the means of ten equal groups: flat is free of length.",
            )
        )
    if run.get("reliability"):
        caption = "On the dashed line, stated confidence and share right agree."
        figures.append(reliability_diagram(run["reliability"], caption=caption))
    return _gallery(figures)


def _gallery(figures: Sequence[Figure]) -> list[Block]:
    return [Gallery(figures)] if figures else []


def _shown(run: Row) -> list[Block]:
    if not run.get("shown"):
        return []
    said = "Drawn before and after training, each pair from the same seed."
    return [Prose(said), Samples([_sample(sample) for sample in run["shown"]])]


def _samples(run: Row) -> list[Block]:
    blocks: list[Block] = []
    if run.get("samples"):
        blocks.append(Samples([_sample(sample) for sample in run["samples"]]))
    if run.get("sample"):
        blocks.append(Code(run["sample"], "The first row as the model sees it, with its mask."))
    return blocks


def _sample(sample: Row) -> Sample:
    return Sample(sample["prompt"], [_response(response) for response in sample["responses"]])


def _response(response: Row) -> Response:
    facts = {k: v for k, v in response.items() if k not in ("name", "text", "spans", "picture")}
    text = response.get("text")
    if text is None:
        text = [Span(part, bool(scored)) for part, scored in response["spans"]]
    return Response(response["name"], text, facts, response.get("picture"))


def _set_aside(summary: Row) -> list[Block]:
    rows = summary.get("rows") or {}
    blocks: list[Block] = [SetAside(summary.get("set_aside", {}), used=sum(rows.values()))]
    notes = summary.get("notes")
    if notes:
        blocks.append(Prose("\n\n".join(str(note) for note in notes)))
    return blocks


def _repeat(summary: Row, config: str) -> list[Block]:
    known = {name: summary[name] for name in ("versions", "adapter") if summary.get(name)}
    blocks: list[Block] = [Facts(known)] if known else []
    if config:
        blocks.append(Code(config, "run.yaml: `prefine train --config run.yaml --out AGAIN`"))
    return blocks or [Prose("No configuration was recorded.")]
