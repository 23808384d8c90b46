"""`prefine generate`: what a model answers to prompts, or draws for captions, as records."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from prefine.errors import ConfigError, RecordError

TEXT, PICTURES = "Language models", "Models that draw"
"""Headings of options that only one kind has."""


def generate(
    model: Annotated[str, typer.Argument(help="Hub name, folder, or LoRA folder.")],
    out: Annotated[Path, typer.Option(help="Folder for the records, and for pictures.")],
    prompt: Annotated[
        list[str] | None, typer.Option(help="A prompt or caption; several may be given.")
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(help="A text file with one a line, or records.", exists=True, dir_okay=False),
    ] = None,
    format: Annotated[
        str | None, typer.Option(help="Reader of --prompts where they are records.")
    ] = None,
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="To each prompt.")] = 1,
    seed: Annotated[
        int | None, typer.Option(help="Of all, 0 by default; of each caption's first picture.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Prompts or pictures at once, 8 by default.")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(help="1 draws from the model itself.", rich_help_panel=TEXT)
    ] = None,
    max_new_tokens: Annotated[
        int | None, typer.Option(min=1, help="Longest, 256 by default.", rich_help_panel=TEXT)
    ] = None,
    beams: Annotated[
        int | None,
        typer.Option(min=1, help="Search with so many; 1 is greedy.", rich_help_panel=TEXT),
    ] = None,
    length_penalty: Annotated[
        float | None,
        typer.Option(
            help="Of --beams: 0 compares sums, 1, the default, means over tokens.",
            rich_help_panel=TEXT,
        ),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(help="A model of the same vocabulary, for --mixture.", rich_help_panel=TEXT),
    ] = None,
    mixture: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Share of the reference in each token.", rich_help_panel=TEXT
        ),
    ] = None,
    template: Annotated[
        str | None,
        typer.Option(help="Chat template: auto, a built-in, or a file.", rich_help_panel=TEXT),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with --out.", rich_help_panel=TEXT)
    ] = False,
    steps: Annotated[
        int | None,
        typer.Option(min=1, help="Denoising steps, 50 by default.", rich_help_panel=PICTURES),
    ] = None,
    guidance: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Scale of guidance; by default the pipeline's own.",
            rich_help_panel=PICTURES,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a line of JSON.")] = False,
) -> None:
    """Sample or search responses, or draw pictures: OUT/records.jsonl, to be judged."""
    from prefine.models.pictures import is_picture_model

    asked = _asked(prompt or [], prompts, format)
    of_text = {
        "temperature": temperature, "max_new_tokens": max_new_tokens, "beams": beams,
        "length_penalty": length_penalty, "reference": reference, "mixture": mixture,
        "template": template,
    }  # fmt: skip
    if is_picture_model(model):
        _refuse({**of_text, "resume": resume or None}, f"{model} draws pictures")
        said, told = _draw(
            model, asked, out, count=count, seed=seed or 0, steps=steps or 50, guidance=guidance,
            batch_size=batch_size or 8, progress=not as_json,
        )  # fmt: skip
    else:
        _refuse({"steps": steps, "guidance": guidance}, f"{model} writes text")
        given = {k: v for k, v in {**of_text, "batch_size": batch_size}.items() if v is not None}
        said, told = _answer(model, asked, out, given, count, seed, resume, not as_json)
    typer.echo(json.dumps(said) if as_json else told)


def _draw(model: str, asked: list[Any], out: Path, **options: Any) -> tuple[dict[str, Any], str]:
    from prefine.models.picture_samples import draw_pictures
    from prefine.runs import entries

    if entries(out):
        raise ConfigError(f"{out} is not empty. Name another folder.")
    captions = [_caption(record) for record in asked]
    made = draw_pictures(model, captions, out, **options)
    records = str(out / "records.jsonl")
    return {"pictures": made, "records": records}, f"{made} pictures in {records}"


def _answer(
    model: str,
    asked: list[Any],
    out: Path,
    given: dict[str, Any],
    count: int,
    seed: int | None,
    resume: bool,
    progress: bool,
) -> tuple[dict[str, Any], str]:
    from prefine.recipes.answering import Answering
    from prefine.sampling import draw_responses

    how = Answering(model=model, **given)
    drawing = how.drawing(asked, count, seed)
    made = draw_responses(how.sampler, drawing, out, resume=resume, progress=progress)
    said = {
        "prompts": made.prompts, "responses": made.responses, "cut": made.cut,
        "records": str(made.path),
    }  # fmt: skip
    told = f"{made.responses} responses to {made.prompts} prompts in {made.path}"
    if made.cut:
        told += (
            f"\n{made.cut} of them were cut off at {how.max_new_tokens} tokens (stats.finished is "
            "0): raise --max-new-tokens, or leave them out before you judge"
        )
    return said, told


def _asked(prompt: list[str], prompts: Path | None, format: str | None) -> list[Any]:
    """Records whose contexts are the prompts: of words, of a text file's lines, of records."""
    from prefine.records import Message, Record, Source, load
    from prefine.records.sources.files import kind_of_file

    lines, records = list(prompt), []
    if prompts is not None and kind_of_file(prompts) is None:
        lines += [line for line in _text(prompts).splitlines() if line.strip()]
    elif prompts is not None:
        from prefine.recipes.own_words import first_of_each_prompt

        records = list(first_of_each_prompt(load(prompts, format=format or "auto")))
        format = None
    if format is not None:
        raise ConfigError("--format names a reader of records: name a file of them, --prompts.")
    if not lines and not records:
        raise ConfigError("There is nothing to answer or to draw: give --prompt or --prompts.")
    return [
        Record(source=Source("generate", row=at), context=(Message("user", line),), candidates=())
        for at, line in enumerate(lines)
    ] + records


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}: this is not text in UTF-8, and its name is none of a file of records. {error}"
        ) from None


def _caption(record: Any) -> str:
    """The text of a prompt, as a picture model is trained on it."""
    if any(part.type != "text" for m in record.context if isinstance(m.content, tuple)
           for part in m.content):  # fmt: skip
        raise RecordError(
            f"Record {record.id}: its prompt holds more than text, and a caption is text alone. "
            "Leave it out of the prompts."
        )
    return "\n".join(message.text for message in record.context)


def _refuse(options: dict[str, Any], why: str) -> None:
    given = ["--" + name.replace("_", "-") for name, value in options.items() if value is not None]
    if given:
        raise ConfigError(f"{', '.join(given)}: {why}, which this does nothing for. Remove it.")
