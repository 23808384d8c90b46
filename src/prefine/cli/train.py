"""`prefine train`: one objective, one model, one data set, one folder."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from prefine.errors import ConfigError


def train(
    objective: Annotated[
        str | None,
        typer.Argument(help="sft, reward, any objective by name, or my_module:my_loss."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="Hub name or folder.")] = None,
    data: Annotated[str | None, typer.Option(help="Hub name, file or folder.")] = None,
    out: Annotated[str | None, typer.Option(help="The run's folder.")] = None,
    eval_data: Annotated[
        str | None, typer.Option(help="Held-out data; by default a tenth of the prompts.")
    ] = None,
    reference: Annotated[
        str | None, typer.Option(help="auto, none, cached, adapter_off, module, or a model.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="A run.yaml; flags win over it.", exists=True, dir_okay=False),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Any key of run.yaml, e.g. options.beta=0.2."
        ),
    ] = None,
    lora: Annotated[bool, typer.Option("--lora", help="Train LoRA adapters.")] = False,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, show a sample, do not train.")
    ] = False,
    no_tune: Annotated[
        bool, typer.Option("--no-tune", help="On CPU, leave allocator and products as they are.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="End with one line of JSON.")] = False,
    list_: Annotated[
        bool, typer.Option("--list", help="List the objectives, or show one.")
    ] = False,
) -> None:
    """Train a policy or a reward model on preferences."""
    look_here()
    if list_:
        from prefine.cli.methods import show_methods

        show_methods(objective, as_json)
        return
    settings = {} if config is None else read_yaml(config)
    settings.pop("header", None)
    flags = {
        "objective": objective,
        "model": model,
        "data": data,
        "out": out,
        "seed": seed,
        "eval_data": eval_data,
        "reference": reference,
        "lora": (settings.get("lora") or {}) if lora else None,
    }
    from prefine.training.config import override, parse

    settings = override(settings, {k: v for k, v in flags.items() if v is not None})
    run = parse(override(settings, dotted(set_ or [])))
    notes = [] if no_tune else tuned()
    if dry_run:
        from prefine.training.dry_run import dry_run as check

        summary = check(run)
    else:
        from prefine.training.run import train as start

        summary = start(run, resume=resume, quiet=as_json, notes=notes).summary
    if as_json:
        typer.echo(json.dumps(summary, allow_nan=False))
    else:
        _show(summary, run.out, dry_run)


def look_here() -> None:
    """Let `my_losses:capped` name a file in this folder, as `python -m prefine` does by itself.

    The folder comes last, so that a file in it hides no library.
    """
    here = str(Path.cwd())
    if "" not in sys.path and here not in sys.path:
        sys.path.append(here)


def tuned() -> list[str]:
    """Apply the process settings that help on CPU, and say which."""
    import torch

    from prefine.engine.tune import tune

    return [] if torch.accelerator.is_available() else tune()


def read_yaml(config: Path) -> dict[str, Any]:
    """Read a file of keys and values.

    Raises:
        ConfigError: If it is not text, not YAML, or its values cannot be written as JSON.
    """
    try:
        text = config.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{config}: this is not text in UTF-8. {error}") from None
    values = _yaml(text, f"{config}")
    try:
        json.dumps(values, default=str)
    except (ValueError, TypeError, RecursionError) as error:  # it holds itself, or a date as a key
        raise ConfigError(f"{config}: this is no configuration. {error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{config}: a configuration holds keys and values, not {values!r}.")
    return values


def _yaml(text: str, where: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    # A value that only looks like a number or a date (`2020-13-45`, `!!timestamp x`) raises what
    # its own parser raises.
    except (yaml.YAMLError, ValueError, AttributeError, RecursionError) as error:
        raise ConfigError(f"{where}: this is not YAML. {error}") from None


def dotted(settings: list[str]) -> dict[str, Any]:
    """Read `KEY=VALUE` settings, values as YAML.

    Raises:
        ConfigError: If one has no `=`, or its value is not YAML.
    """
    pairs: dict[str, Any] = {}
    for setting in settings:
        key, separator, text = setting.partition("=")
        if not separator:
            raise ConfigError(f"--set {setting}: write KEY=VALUE, e.g. --set options.beta=0.2.")
        value = _yaml(text, f"--set {key}")
        if isinstance(value, str):
            value = _number(value)
        pairs[key.strip()] = value
    return pairs


def _number(text: str) -> str | float:
    """YAML 1.1 reads 1e-5 as text; people mean a number."""
    try:
        return float(text)
    except ValueError:
        return text


def _show(summary: dict[str, Any], out: str, dry_run: bool) -> None:
    if dry_run:
        from prefine.training.estimate import show

        for line in show(summary["estimate"]) if summary["estimate"] else []:
            typer.echo(line)
        typer.echo("Everything is in order; nothing was trained.")
        return
    from prefine.report.terminal import print_stats

    print_stats(summary["metrics"])
    typer.echo(f"model   {out}/model\nreport  {out}/report.html")
