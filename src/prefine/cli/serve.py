"""`prefine serve`: a reward model behind an address."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from prefine.web.queries import Queries

app = typer.Typer(no_args_is_help=True, help="Serve a model to other programs.")


@app.callback()
def root() -> None:
    """Serve a model to other programs."""


@app.command()
def reward(
    model: Annotated[str, typer.Argument(help="Folder of a run or a reward model, or Hub name.")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 for any that is free.")] = 5000,
    host: Annotated[str, typer.Option(help="Address; by default of this machine alone.")] = (
        "127.0.0.1"
    ),
    expose: Annotated[
        bool, typer.Option("--expose", help="Other machines may reach --host, unencrypted.")
    ] = False,
    token_file: Annotated[
        Path | None,
        typer.Option(help="File with the token; else PREFINE_TOKEN, else one is made and printed."),
    ] = None,
    template: Annotated[
        str, typer.Option(help="Chat template: auto, a built-in, or a file.")
    ] = "auto",
    max_length: Annotated[
        int | None, typer.Option(min=2, help="Longest conversation, tokens [default: as trained].")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Queries scored at once.")] = 16,
) -> None:
    """Answer rewards over HTTP as OpenRLHF asks for them; see the page "Leave the house"."""
    from prefine.extras import require
    from prefine.web.access import Access
    from prefine.web.serve import listen

    require("uvicorn", extra="serve")  # said before a model is loaded
    access = Access.choose(token_file)
    bound = listen(host, port, expose=expose)
    typer.echo(f"loading  {model}", err=True)
    queries = _load(model, template, max_length)
    from prefine.web.reward import Limits, reward_app
    from prefine.web.serve import serve

    at = f"{f'[{host}]' if ':' in host else host}:{bound.getsockname()[1]}"
    typer.echo(f"serving  http://{at}/get_reward", err=True)
    if access.made:
        typer.echo(f"token    {access.token}", err=True)
    serve(reward_app(queries, access, Limits(batch=batch)), bound)


def _load(model: str, template: str, max_length: int | None) -> "Queries":
    import torch

    from prefine.cli.train import tuned
    from prefine.models import RewardModel
    from prefine.models.folder import model_of
    from prefine.web.queries import Queries

    for note in tuned():
        typer.echo(f"note     {note}", err=True)
    more: dict[str, Any] = {} if max_length is None else {"max_length": max_length}
    loaded = RewardModel.load(model_of(model), template=template, **more)
    if torch.accelerator.is_available():
        loaded.model.to(torch.accelerator.current_accelerator())
    return Queries(loaded)
