"""`prefine push`: upload a model, after saying what and asking."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from prefine.models.push import Upload


def push(
    model: Annotated[str, typer.Argument(help="Folder of a run, or of a model.")],
    repository: Annotated[str, typer.Argument(metavar="REPO", help="owner/name on the Hub.")],
    private: Annotated[bool, typer.Option("--private", help="Only its owners may see it.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Upload a model to the Hugging Face Hub; nothing else in prefine uploads anything."""
    from prefine.models.push import prepare_upload
    from prefine.models.push import push as send

    upload = prepare_upload(model, repository, private=private)
    _show(upload)
    if not yes:
        typer.confirm("Upload?", abort=True)
    typer.echo(f"uploaded  {send(upload)}")


def _show(upload: "Upload") -> None:
    seen_by = "its owners alone" if upload.private else "everybody"
    typer.echo(f"{upload.kind}  {upload.folder}\nto  {upload.repository}, seen by {seen_by}")
    for name, size in upload.files.items():
        typer.echo(f"  {size:>14,} bytes  {name}")
    for note in upload.notes:
        typer.echo(f"note  {note}")
