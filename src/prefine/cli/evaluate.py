"""`prefine evaluate`: how well a model's scores agree with what people said."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(no_args_is_help=True, help="Evaluate a model on held-out preferences.")

Model = Annotated[str, typer.Argument(help="Hub name or folder.")]
Data = Annotated[str, typer.Argument(help="Hub name, file or folder.")]
Format = Annotated[str, typer.Option(help="Name of a reader, or auto.")]
Split = Annotated[str | None, typer.Option(help="Split of a Hub data set or folder.")]
Template = Annotated[str, typer.Option(help="Chat template: auto, a built-in, or a file.")]
MaxLength = Annotated[int, typer.Option(help="Longest prompt plus response, tokens.", min=2)]
Json = Annotated[bool, typer.Option("--json", help="Print one line of JSON.")]
Rejects = Annotated[
    Path | None, typer.Option(help="Where unreadable rows go; by default the working directory.")
]


@app.command()
def reward(
    model: Model,
    data: Data,
    format: Format = "auto",
    split: Split = None,
    template: Template = "auto",
    max_length: MaxLength = 1024,
    rejects: Rejects = None,
    as_json: Json = False,
) -> None:
    """Accuracy, calibration and length bias of a reward model, beside "the longer one wins"."""
    from prefine.evaluation.reward import reward_report
    from prefine.models import RewardModel

    loaded = RewardModel.load(model, template=template, max_length=max_length)
    view, records = _pairs(data, format, split, rejects)
    prepared = loaded.adapter.prepare(view)
    scores = loaded.score(prepared.dataset, progress=not as_json)
    report = reward_report([view.rows[row["at"]] for row in prepared.dataset], scores)
    _print(report, model, records, view, prepared, as_json)


@app.command()
def ranking(
    model: Model,
    data: Data,
    reference: Annotated[str | None, typer.Option(help="A model to compare with.")] = None,
    beta: Annotated[
        float | None, typer.Option(help="Of the loss; says what the reference allows at best.")
    ] = None,
    format: Format = "auto",
    split: Split = None,
    template: Template = "auto",
    max_length: MaxLength = 1024,
    rejects: Rejects = None,
    as_json: Json = False,
) -> None:
    """Whether a policy finds the preferred response more likely, with and without a reference."""
    from prefine.adapters import CausalLM
    from prefine.errors import ConfigError
    from prefine.evaluation.ranking import ranking_report
    from prefine.models import load_policy, load_tokenizer, score_rows

    if beta is not None and reference is None:
        raise ConfigError("--beta says what a reference allows at best: name one, --reference.")
    adapter = CausalLM(load_tokenizer(model), template=template, max_length=max_length)
    view, records = _pairs(data, format, split, rejects)
    prepared = adapter.prepare(view)
    rows, name = prepared.dataset, None if as_json else "policy"
    policy = load_policy(model)
    scores = score_rows(rows, policy, adapter.fitted(policy), progress=name)
    base = None
    if reference is not None:
        name = None if as_json else "reference"
        other = load_policy(reference)
        base = score_rows(rows, other, adapter.fitted(other), progress=name)
    lengths = [[float(mask.sum()) for mask in row["mask"]] for row in rows]
    compared = [view.rows[row["at"]] for row in rows]
    report = ranking_report(compared, scores, base, lengths, beta=beta)
    _print(report, model, records, view, prepared, as_json)


@app.command()
def scaffolding(
    model: Model,
    data: Data,
    format: Format = "auto",
    split: Split = None,
    template: Template = "auto",
    max_length: MaxLength = 1024,
    rejects: Rejects = None,
    as_json: Json = False,
) -> None:
    """Whether a tutor finds a hint likelier than the answer, and which action it takes.

    On pairs of `prefine curate tutor`. Its action is that of the reply it finds likeliest; where
    replies name theirs, it is compared with the right one.
    """
    from prefine.adapters import CausalLM
    from prefine.evaluation.actions import action_report, actions_of
    from prefine.evaluation.scaffolding import scaffolding_report
    from prefine.models import load_policy, load_tokenizer, score_rows
    from prefine.records.views import candidates_view

    adapter = CausalLM(load_tokenizer(model), template=template, max_length=max_length)
    view, records = _pairs(data, format, split, rejects)
    prepared = adapter.prepare(view)
    rows, name = prepared.dataset, None if as_json else "policy"
    policy = load_policy(model)
    scores = score_rows(rows, policy, adapter.fitted(policy), progress=name)
    lengths = [[float(mask.sum()) for mask in row["mask"]] for row in rows]
    report = scaffolding_report([view.rows[row["at"]] for row in rows], scores, lengths)
    turns = [turn for turn in map(actions_of, records) if turn is not None]
    if turns:
        every = adapter.prepare(candidates_view(records)).dataset
        name = None if as_json else "replies"
        found = score_rows(every, policy, adapter.fitted(policy), progress=name)
        tokens = [[float(mask.sum()) for mask in row["mask"]] for row in every]
        ids = [row["record"] for row in every]
        of_replies = (dict(zip(ids, values, strict=True)) for values in (found, tokens))
        report |= action_report(turns, *of_replies)
    _print(report, model, records, view, prepared, as_json)


@app.command()
def credit(
    model: Model,
    data: Data,
    reference: Annotated[str, typer.Option(help="What the model was trained against.")],
    beta: Annotated[float, typer.Option(help="Of the loss that trained it, reward per nat.")] = 0.1,
    stretch: Annotated[int, typer.Option(help="Tokens that a mean is taken over.", min=1)] = 5,
    out: Annotated[
        Path, typer.Option(help="Where credits go, one line of JSON a response.", dir_okay=False)
    ] = Path("credit.jsonl"),
    format: Format = "auto",
    split: Split = None,
    template: Template = "auto",
    max_length: MaxLength = 1024,
    rejects: Rejects = None,
    as_json: Json = False,
) -> None:
    """Which tokens a policy was taught to write and to avoid: beta times the log-ratio of each."""
    from prefine.adapters import CausalLM
    from prefine.errors import ConfigError
    from prefine.evaluation.credit import credit_report, token_credit
    from prefine.models import load_policy, load_tokenizer, score_tokens

    if beta <= 0:
        raise ConfigError(f"--beta must be above 0, got {beta}: it is the unit of a credit.")
    if out.exists():
        raise ConfigError(f"{out} is there already. Name another file with --out.")
    tokenizer = load_tokenizer(model)
    adapter = CausalLM(tokenizer, template=template, max_length=max_length)
    view, records = _pairs(data, format, split, rejects)
    prepared = adapter.prepare(view)
    rows = prepared.dataset
    found = {}
    for name, path in (("policy", model), ("reference", reference)):
        loaded = load_policy(path)
        progress = None if as_json else name
        found[name] = score_tokens(rows, loaded, adapter.fitted(loaded), progress=progress)
    credits = [
        [token_credit(*pair, beta=beta).tolist() for pair in zip(*both, strict=True)]
        for both in zip(found["policy"], found["reference"], strict=True)
    ]
    compared = [view.rows[row["at"]] for row in rows]
    report = credit_report(compared, credits, size=stretch)
    _write_credits(out, tokenizer, rows, compared, credits, stretch)
    _print(report, model, records, view, prepared, as_json)


def _pairs(data: str, format: str, split: str | None, rejects: Path | None) -> tuple[Any, Any]:
    from prefine.errors import RecordError
    from prefine.records import load

    records = load(data, format=format, split=split, rejects=rejects)
    view = records.pairs(ties="keep")
    if not len(view.rows):
        raise RecordError(f"{data}: there are no pairs to evaluate on ({dict(view.set_aside)}).")
    return view, records


def _print(
    report: dict[str, Any], model: str, records: Any, view: Any, prepared: Any, as_json: bool
) -> None:
    set_aside = dict(view.set_aside)
    for reason, count in prepared.set_aside.items():
        set_aside[reason] = set_aside.get(reason, 0) + count
    if as_json:
        facts = {
            "model": model,
            "data": records.source,
            "format": records.format,
            "rows": len(prepared.dataset),
            "rejects": records.rejects.count,
            "set_aside": set_aside,
            "notes": list(prepared.notes),
        }
        stats = {name: stat.to_json() for name, stat in report.items()}
        typer.echo(json.dumps({**stats, **facts}, allow_nan=False))
        return
    from prefine.report.terminal import print_stats

    print_stats(report)
    for reason, count in set_aside.items():
        typer.echo(f"set aside  {count}: {reason}")
    for note in prepared.notes:
        typer.echo(f"note       {note}")


def _write_credits(
    out: Path, tokenizer: Any, rows: Any, compared: Any, credits: Any, stretch: int
) -> None:
    from prefine.evaluation.credit import stretches
    from prefine.models import scored_ids

    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("w", encoding="utf-8") as file:
        for row, seen, both in zip(rows, compared, credits, strict=True):
            for item, (role, credit) in enumerate(zip(row["roles"], both, strict=True)):
                ids = scored_ids(row, item)
                cut = [
                    {
                        "start": one.start, "stop": one.stop, "credit": one.credit,
                        "text": tokenizer.decode(ids[one.start : one.stop]),
                    }
                    for one in stretches(credit, stretch)
                ]  # fmt: skip
                line = {
                    "record": seen["record"], "role": role, "reward": sum(credit),
                    "tokens": [tokenizer.decode([token]) for token in ids],
                    "credit": credit, "stretches": cut,
                }  # fmt: skip
                file.write(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")
