"""Whether data, options and objective go together; if not, what would fit is named.

Nothing that people said, and nothing that a user asked for, is passed over in silence.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from prefine.errors import ConfigError, ObjectiveError, RecordError
from prefine.objectives.declare import Spec
from prefine.training.config import DataConfig

SOFT_FIELDS = ("prob", "margin", "tie")
"""What a row may carry besides its responses, which an objective reads or not."""

MARGINS = "margins"
"""Role of an objective that takes pairs and pairs of margins, which are made of pairs."""

GRID = "grid"
"""Role of an objective that takes responses under several prompts, which records with tags make."""

READ_BY = {
    "pair": ("pairs", "votes", "ties", "aspect", "min_gap", "instructions"),
    "list": ("aspect",),
    "point": ("threshold", "aspect"),
    "grid": (),
}
"""Kind of row -> which options of `rows` shape it."""

SUGGESTED = {
    "pair": "pairs: try dpo, simpo or reward",
    "list": "lists: try plackett_luce",
    "judged": "single responses with a label: try kto, bco or apo_zero_unpaired",
    "demonstration": "responses that nobody judged: try sft",
}


def refuse_idle(options: DataConfig, declared: Spec) -> None:
    """Raise for an option that would do nothing.

    Raises:
        ConfigError: If an option of `rows` is set that this kind of row does not depend on.
    """
    shaping = {name for names in READ_BY.values() for name in names}
    made_of = made_of_kind(declared)
    for name in sorted(shaping - set(READ_BY[made_of])):
        default = DataConfig.model_fields[name].default
        if getattr(options, name) != default:
            kinds = [kind for kind, names in READ_BY.items() if name in names]
            takes = GRID if made_of == GRID else declared.data
            raise ConfigError(
                f"rows.{name} shapes {' and '.join(kinds)} rows, but this objective takes "
                f"{takes} rows, so the option would do nothing. Remove it."
            )
    if options.ties == "keep" and "tie" not in declared.needs.fields:
        raise ConfigError(
            "rows.ties=keep: this objective does not read ties, so they would be dropped. Choose "
            "one that does (dpo_ties, reward with options.ties), or remove the option."
        )


def made_of_kind(declared: Spec) -> str:
    """Return what the rows of an objective are made of: `pair`, `list`, `point` or `grid`."""
    if GRID in declared.needs.roles:
        return GRID
    return "pair" if MARGINS in declared.needs.roles else declared.data


def refuse_empty(view: Any, records: Any, options: DataConfig, what: str) -> None:
    """Raise if a view has no row, with what the records hold instead.

    Args:
        view: The view that the objective takes.
        records: Where it comes from.
        options: How rows are made.
        what: What a row would have been, e.g. `"pair"`.

    Raises:
        RecordError: If it is empty.
    """
    if len(view.rows) or not len(records):
        return
    reasons = "; ".join(f"{reason}: {count}" for reason, count in view.set_aside.items())
    raise RecordError(
        f"{len(records)} records hold no {what} ({reasons or 'nothing was judged'}), so this "
        f"objective has nothing to learn from. {_instead(records, options)}"
    )


def keep_fed(view: Any, records: Any, declared: Spec, options: DataConfig, name: str) -> Any:
    """Return the view without the rows that lack what the objective must have.

    A row that nobody judged has no label; taken for undesirable, it would be unlearnt.

    Raises:
        ObjectiveError: If every row lacks it.
    """
    for field in sorted(declared.needs.required & {"label", "utility", *SOFT_FIELDS}):
        values, ties = view.rows[field], view.rows["tie"]
        kept = [
            at
            for at, value in enumerate(values)
            if _is_known(value) or (field == "margin" and ties[at])  # a tie has no margin
        ]
        if not kept:
            raise ObjectiveError(
                f"{name} needs `{field}`, which no row of the data has. Add it to the data, or "
                f"choose an objective or option without it. {_instead(records, options)}"
            )
        if len(kept) < len(values):
            aside = dict(view.set_aside) | {f"no {field}": len(values) - len(kept)}
            view = replace(view, rows=view.rows.select(kept), set_aside=aside)
    return view


def refuse_unread(view: Any, declared: Spec, options: DataConfig) -> None:
    """Raise for a column that the data carries and nothing reads.

    Raises:
        ObjectiveError: If there is one that `rows.ignore` does not name.
    """
    for name in SOFT_FIELDS:
        values = view.rows[name]
        carries = any(values) if name == "tie" else any(v is not None for v in values)
        if carries and name not in declared.needs.fields and name not in options.ignore:
            raise ObjectiveError(
                f"The data carries `{name}`, but the objective does not read it, so what people "
                f"said would be lost without a word. Choose an objective or option that reads it, "
                f"or pass --set rows.ignore=[{name}]."
            )


def _is_known(value: Any) -> bool:
    parts: list[Any] = list(value) if isinstance(value, list | tuple) else [value]
    return all(part is not None for part in parts)


def _instead(records: Any, options: DataConfig) -> str:
    """Name the objectives that would fit what the records hold."""
    aspect = options.aspect
    views: dict[str, Callable[[], Any]] = {
        "pair": lambda: records.pairs(how=options.pairs, aspect=aspect).rows["record"],
        "list": lambda: records.lists(aspect=aspect).rows["record"],
        "judged": lambda: _labels(records, options, known=True),
        "demonstration": lambda: _labels(records, options, known=False),
    }
    for kind, rows in views.items():
        if len(rows()):
            return f"The records hold {SUGGESTED[kind]}."
    return "Look with `prefine data inspect`."


def _labels(records: Any, options: DataConfig, *, known: bool) -> list[Any]:
    try:
        view = records.points(threshold=options.threshold, aspect=options.aspect)
    except ConfigError:  # ratings need a threshold: the user is told when points are asked for
        return []
    return [labels for labels in view.rows["label"] if _is_known(labels) is known]
