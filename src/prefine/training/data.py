"""From a data set's name to the encoded rows of a run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from prefine.errors import ConfigError, RecordError
from prefine.objectives.declare import Spec
from prefine.protocols import Adapter, Prepared
from prefine.runs import EVAL_REJECTS, REJECTS, TARGET_REJECTS
from prefine.training.config import DataConfig, RunConfig
from prefine.training.degrees import put_versions
from prefine.training.fit import (
    GRID,
    MARGINS,
    keep_fed,
    made_of_kind,
    refuse_empty,
    refuse_idle,
    refuse_unread,
)
from prefine.training.mixing import Sources
from prefine.training.rows import EncodedRows


@dataclass
class RunData:
    """The rows of a run, and everything that was set aside on the way.

    Attributes:
        train: What is trained on.
        held_out: What is evaluated on, or None.
        train_view: The view behind `train`.
        held_out_view: The view behind `held_out`, or None.
        facts: Where the data comes from, for the report.
        sources: Where rows of `train` come from, if they are mixed, or None.
        set_aside: Reason -> rows, over both parts.
        notes: Sentences for the header.
        sample: A decoded row with its mask.
    """

    train: EncodedRows
    held_out: EncodedRows | None
    train_view: Any
    held_out_view: Any
    facts: dict[str, Any]
    sources: Sources | None = None
    set_aside: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    sample: str = ""


def load_data(config: RunConfig, declared: Spec, adapter: Adapter, *, name: str) -> RunData:
    """Load, split, view and encode.

    Args:
        config: The run.
        declared: What the objective consumes.
        adapter: Encodes rows.
        name: The objective's name; `sft` takes what is worth imitating.
    """
    from prefine.records import load

    options = config.rows
    refuse_idle(options, declared)
    records = load(
        config.data,
        format=options.format,
        split=options.split,
        config=options.config,
        revision=options.revision,
        max_rejects=options.max_rejects,
        rejects=f"{config.out}/{REJECTS}",
        keep_columns=options.keep_columns,
        rename=options.rename,
        license=options.license,
    )
    facts: dict[str, Any] = {
        "data": config.data,
        "format": records.format,
        "fingerprint": records.fingerprint,
        "records": len(records),
        "rejects": records.rejects.count,
        "licences": records.licences,
    }
    unlicensed = _unlicensed(records)
    held_out = None
    if config.eval_data is not None:
        held_out = load(
            config.eval_data,
            format=options.format,
            max_rejects=options.max_rejects,
            rejects=f"{config.out}/{EVAL_REJECTS}",
            keep_columns=options.keep_columns,
            rename=options.rename,
        )
        facts["rejects"] += held_out.rejects.count
    elif config.holdout > 0:
        sizes = {"train": 1 - config.holdout, "held_out": config.holdout}
        try:
            parts = records.split(by="prompt", sizes=sizes, seed=config.seed)
        except ConfigError:
            raise ConfigError(
                f"holdout={config.holdout:g}: of {len(records)} records one part gets none. Set "
                "another share, name held-out rows with --eval-data, or set holdout=0 to train "
                "on all and measure nothing."
            ) from None
        records, held_out = parts["train"], parts["held_out"]
    train_view = _whole_view(config, records, declared, name)
    train_view = _with_instructions(train_view, declared, options.instructions, config.seed)
    data = RunData(EncodedRows(lambda _: [], 0), None, train_view, None, facts)
    data.train, prepared = _encode(train_view, declared, adapter, config.seed)
    data.notes, data.sample = [*prepared.notes, *unlicensed], prepared.sample
    data.notes += _unexplained(train_view)
    _count(data.set_aside, train_view.set_aside, prepared.set_aside)
    if held_out is not None and len(held_out):
        data.held_out_view = _whole_view(config, held_out, declared, name)
        # The pairs alone: what instructions teach must not cost what people preferred.
        if declared.unit != "reward":
            data.held_out_view = _with_instructions(data.held_out_view, declared, None, config.seed)
        if len(data.held_out_view.rows):
            data.held_out, prepared = _encode(data.held_out_view, declared, adapter, config.seed)
            _count(data.set_aside, data.held_out_view.set_aside, prepared.set_aside)
    if config.degrees is not None:
        put_versions(data, adapter, config)
    if config.mixing is not None:
        data.sources = _sources(config, declared, adapter, data, name)
        facts["mixing"] = data.sources.facts
    return data


def _sources(
    config: RunConfig, declared: Spec, adapter: Adapter, data: RunData, name: str
) -> Sources:
    """Sort the rows by source, and load the set that they are mixed towards."""
    from prefine.records import load

    assert config.mixing is not None
    options = config.rows
    records = load(
        config.mixing.toward,
        format=options.format,
        max_rejects=options.max_rejects,
        rejects=f"{config.out}/{TARGET_REJECTS}",
        keep_columns=options.keep_columns,
        rename=options.rename,
    )
    view = make_view(records, declared, options, name=name, seed=config.seed)
    target, prepared = _encode(view, declared, adapter, config.seed)
    _count(data.set_aside, view.set_aside, prepared.set_aside)
    return Sources.read(data.train, data.train_view, config.mixing.by, target)


def _unlicensed(records: Any) -> list[str]:
    """A sentence where the licence of some records is not known."""
    from prefine.records.records import NOT_STATED

    count = records.licences.get(NOT_STATED, 0)
    if not count:
        return []
    return [
        f"the licence of {count} of {len(records)} records is not known: neither they nor a card "
        "beside them names it. Find out before you pass the model on, and say it with rows.license"
    ]


def _unexplained(view: Any) -> list[str]:
    """A sentence where some pairs have no reason; none of them is too few."""
    without = view.recipe.get("without rationale", 0)
    if without and without == len(view):
        raise RecordError(
            f"None of {without} pairs has a reason, so there is nothing to explain. A row of "
            "`prompt`, `chosen`, `rejected` may have a `rationale`, and so may a judgment of "
            "prefine's own format. Add it, or train without the block `rationale`."
        )
    if not without:
        return []
    return [f"{without} of {len(view)} pairs have no reason: they teach the preference alone"]


def make_view(records: Any, declared: Spec, options: DataConfig, *, name: str, seed: int) -> Any:
    """Derive the view that an objective takes.

    Raises:
        RecordError: If the records hold nothing of that kind.
        ObjectiveError: If the rows lack what the objective needs, or carry what it does not read.
    """
    imitate = name == "sft"
    if options.captions is not None:
        view = _caption_view(records, declared, options, seed)
    elif imitate:
        view = records.points(threshold=options.threshold, keep="desirable", aspect=options.aspect)
    elif made_of_kind(declared) == GRID:
        from prefine.records.grids import grids

        view = grids(records)
    elif made_of_kind(declared) == "pair":
        view = records.pairs(
            how=options.pairs,
            votes=options.votes,
            ties=options.ties,
            aspect=options.aspect,
            min_gap=options.min_gap,
            seed=seed,
        )
    elif declared.data == "list":
        view = records.lists(aspect=options.aspect)
    else:
        view = records.points(threshold=options.threshold, aspect=options.aspect)
    what = made_of_kind(declared)
    refuse_empty(view, records, options, "response to imitate" if imitate else what)
    view = keep_fed(view, records, declared, options, name)
    refuse_unread(view, declared, options)
    return view


def _whole_view(config: RunConfig, records: Any, declared: Spec, name: str) -> Any:
    """The view of a run, with reasons where they are learnt too."""
    view = make_view(records, declared, config.rows, name=name, seed=config.seed)
    if config.rationale is None:
        return view
    if config.rows.instructions or config.mixing is not None:
        other = "rows.instructions" if config.rows.instructions else "mixing"
        raise ConfigError(
            f"rationale and {other}: rows with reasons cannot be told from others there. Take one."
        )
    from prefine.records.rationales import with_rationales

    return with_rationales(view, records, seed=config.seed)


def _with_instructions(
    view: Any, declared: Spec, weights: Mapping[Any, float] | None, seed: int
) -> Any:
    """Add rows that compare prompts, and number the responses where margins are compared."""
    from prefine.records.levels import with_instructions

    margins = MARGINS in declared.needs.roles
    if not margins and not weights:
        return view
    return with_instructions(view, weights or {}, seed, as_lists=margins)


def _caption_view(records: Any, declared: Spec, options: DataConfig, seed: int) -> Any:
    from prefine.records.captions import with_changed_captions

    if declared.data not in ("pair", "point"):
        raise ConfigError(
            "rows.captions makes pairs or points of a picture's captions, but this objective "
            f"takes {declared.data}s. Remove it."
        )
    liked = records.points(threshold=options.threshold, keep="desirable", aspect=options.aspect)
    return with_changed_captions(liked, declared.data, seed)


def _encode(view: Any, declared: Spec, adapter: Adapter, seed: int) -> tuple[EncodedRows, Prepared]:
    seeds = getattr(adapter, "fixed_draws", None)
    if "mismatched" not in declared.needs.roles:
        prepared = adapter.prepare(view)
        same = prepared.dataset
        return EncodedRows(lambda _: same, len(same), seed=seed, seeds=seeds), prepared
    from prefine.records import with_mismatched

    @lru_cache(maxsize=2)
    def epoch_rows(epoch: int) -> Prepared:
        return adapter.prepare(with_mismatched(view, epoch=epoch, seed=seed))

    first = epoch_rows(0)
    count = len(first.dataset)

    def rows(epoch: int) -> Any:
        encoded = epoch_rows(epoch).dataset
        if len(encoded) != count:
            raise RecordError(
                f"epoch {epoch} has {len(encoded)} rows and epoch 0 has {count}: a row with its "
                "mismatched partner is too long. Raise max_length."
            )
        return encoded

    return EncodedRows(rows, count, seed=seed, seeds=seeds, anew=True), first


def _count(total: dict[str, int], *more: Mapping[str, int]) -> None:
    for counts in more:
        for reason, count in counts.items():
            total[reason] = total.get(reason, 0) + count
