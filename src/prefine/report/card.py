"""The model card: what a reader of the model's folder must know, from the same facts as the report.

Everything foreign is escaped, so that a data set's name cannot write Markdown or HTML.
"""

import math
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from prefine.report.text import as_stats, count_text, interval_text, number, value_text, visible
from prefine.statistics import Stat

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, ModelCard

REWARD_TASK, POLICY_TASK = "text-classification", "text-generation"
DATA_FACTS = {
    "data": "from",
    "records": "prompts that could be read",
    "rejects": "rows that could not be read",
    "licences": "licences, with the records that name them",
}
"""Facts of the data, in words."""

_MARKS = re.compile(r"([\\`*_{}\[\]<>()#+!|~$&])")


def model_card(
    summary: Mapping[str, Any],
    *,
    name: str,
    base_model: str | None = None,
    datasets: Sequence[str] = (),
    license: str | None = None,
    language: Sequence[str] = (),
    meanings: Mapping[str, str] | None = None,
) -> "ModelCard":
    """Write the card of a trained model.

    Args:
        summary: The run's header, as for `prefine.report.run.run_report`.
        name: What to call the model.
        base_model: Hub name of the model that was trained, if it has one.
        datasets: Hub names of the data, if it has any.
        license: Licence of the weights, if it is known.
        language: Language codes, if known.
        meanings: Name -> what a number says.

    Returns:
        The card; `card.save("README.md")` writes it.

    Example:
        >>> card = model_card({"objective": "dpo", "model": "tiny", "formula": "f"}, name="Tiny")
        >>> card.data.tags
        ['prefine', 'preference-alignment', 'dpo']
    """
    from huggingface_hub import ModelCard, ModelCardData

    rows = summary.get("rows") or {}
    is_reward = summary.get("unit") == "reward"
    stats = as_stats(summary.get("metrics", {}))
    results = _eval_results(summary, stats, datasets)
    data = ModelCardData(
        model_name=name if results else None,
        eval_results=results or None,
        base_model=base_model,
        datasets=list(datasets) or None,
        license=license,
        language=list(language) or None,
        library_name="transformers",
        pipeline_tag=REWARD_TASK if is_reward else POLICY_TASK,
        tags=["prefine", "preference-alignment", str(summary["objective"])],
    )
    template = files("prefine.report").joinpath("templates", "card.md.jinja").read_text("utf-8")
    return ModelCard.from_template(
        data,
        template_str=template,
        name=escape(name),
        kind="reward model" if is_reward else "policy",
        objective=escape(summary["objective"]),
        formula=_fenced(str(summary["formula"])) if summary.get("formula") else "",
        base=escape(base_model or ""),
        facts={escape(key): _plain(value) for key, value in _facts(summary).items()},
        data={escape(key): _plain(value) for key, value in _about_data(summary).items()},
        results=_results(stats, meanings or {}),
        used=number(rows["train"]) if "train" in rows else "",
        set_aside={escape(k): number(v) for k, v in summary.get("set_aside", {}).items()},
        notes=[escape(note) for note in summary.get("notes", [])],
    )


def escape(text: Any) -> str:
    r"""Make text mean itself in a Markdown paragraph or table cell.

    Example:
        >>> escape("a|b <i>*x*")
        'a\\|b \\<i\\>\\*x\\*'
    """
    return _MARKS.sub(r"\\\1", " ".join(visible(str(text)).split()))


def _fenced(text: str) -> str:
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{visible(text)}\n{fence}"


def _facts(summary: Mapping[str, Any]) -> dict[str, Any]:
    shown = ("model", "weights", "reference", "rows", "steps", "seed", "dtype", "versions")
    return {name: summary[name] for name in shown if summary.get(name) not in (None, "", {})}


def _about_data(summary: Mapping[str, Any]) -> dict[str, Any]:
    """What was trained on: where from, how much could be read, under which licences."""
    facts = summary.get("data") or {}
    if not isinstance(facts, Mapping):
        return {"data": facts}
    kept = {str(key): value for key, value in facts.items() if value not in ("", {})}
    return {DATA_FACTS.get(key, key): value for key, value in kept.items()}


def _eval_results(
    summary: Mapping[str, Any], stats: Mapping[str, Stat], datasets: Sequence[str]
) -> list["EvalResult"]:
    """The numbers with their intervals as the Hub reads them, those that are finite."""
    from huggingface_hub import EvalResult

    facts = summary.get("data") or {}
    local = facts.get("data", "") if isinstance(facts, Mapping) else facts
    source = datasets[0] if datasets else visible(str(local or "held-out data"))
    task = REWARD_TASK if summary.get("unit") == "reward" else POLICY_TASK
    return [
        EvalResult(
            task_type=task,
            dataset_type=source,
            dataset_name=f"held out of {source}",
            metric_type=visible(name),
            metric_value=stat.value,
            metric_args={k: v for k, v in stat.to_json().items() if k != "value" and v is not None},
        )
        for name, stat in stats.items()
        if math.isfinite(stat.value)
    ]


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"{escape(key)} {_plain(inner)}" for key, inner in value.items())
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return number(value) if is_number else escape(value)


def _results(stats: Mapping[str, Stat], meanings: Mapping[str, str]) -> list[dict[str, str]]:
    return [
        {
            "name": escape(name),
            "value": value_text(stat),
            "interval": interval_text(stat),
            "n": count_text(stat),
            "method": escape(stat.method),
            "meaning": escape(meanings.get(name, "")),
        }
        for name, stat in stats.items()
    ]
