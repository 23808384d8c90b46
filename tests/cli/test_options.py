"""The flags of `prefine train` are frozen, and every command that a page shows exists."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import typer

from prefine.cli.main import app
from prefine.cli.train import dotted
from prefine.curation.catalogue import build
from prefine.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*ROOT.glob("*.md"), *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [page for page in PAGES if "generated" not in page.parts and "_build" not in page.parts]

TRAIN = """
    OBJECTIVE --config --data --dry-run --eval-data --json --list --lora --model --no-tune --out
    --reference --resume --seed --set
"""


def test_train_has_few_flags_and_they_are_frozen():
    """A new flag is a decision; whatever it would set has a key for --set and --config already."""
    command = find(["train"])[0]
    arguments = [p.name.upper() for p in command.params if is_argument(p)]
    assert sorted([*arguments, *options(command)]) == sorted(TRAIN.split())


def is_argument(parameter: Any) -> bool:
    return parameter.param_type_name == "argument"


def options(command: Any) -> set[str]:
    named = [p for p in command.params if not is_argument(p)]
    return {name for p in named for name in (*p.opts, *p.secondary_opts)} - {"--help", "-h"}


def find(words: list[str]) -> tuple[Any, list[str]]:
    """Return the command that the words lead to, and the words that are left."""
    command = typer.main.get_command(app)
    while getattr(command, "commands", None):
        if not words or words[0] not in command.commands:  # type: ignore[attr-defined]
            break
        command, words = command.commands[words[0]], words[1:]  # type: ignore[attr-defined]
    return command, words


def shown_commands() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for block in re.findall(r"```(?:bash|console|sh)\n(.*?)```", text, re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                found = re.search(r"(?:^\$? ?|-m )prefine (.*)", line)
                if found:
                    yield str(page.relative_to(ROOT)), found.group(1)


@pytest.mark.parametrize(("page", "line"), sorted(set(shown_commands())))
def test_a_shown_command_exists(page: str, line: str):
    check(line)


@pytest.mark.parametrize(
    "line",
    [
        "trainn dpo --model m",
        "train dpo --modle m",
        "data inspect a b",
        "train dpo --set rows.votess=soft",
        "train dpo --set training.learning_rat=1",
        "train dpo --set maxlength=3",
        "curate shots a --set cuont=2",
        "curate shost a --set count=2",
    ],
)
def test_a_wrong_command_is_noticed(line: str):
    with pytest.raises((AssertionError, ConfigError)):
        check(line)


def check(line: str) -> None:
    """Assert that commands, flags, `--set` keys and the number of arguments are right."""
    command, words = find(shlex.split(line, comments=True))
    assert not hasattr(command, "commands") or not words or words[0].startswith("-"), line
    takes_value = {n for p in command.params if not getattr(p, "is_flag", False) for n in p.opts}
    positional, operator = 0, words[0] if words else ""
    of_operator: list[str] = []
    while words:
        word, words = words[0], words[1:]
        if not word.startswith("--"):
            positional += 1
            continue
        name, _, value = word.partition("=")
        assert name in options(command) | {"--help"}, f"{line}: there is no {name}"
        if name in takes_value and not value:
            value, words = words[0], words[1:]
        if name == "--set" and command.name == "curate":
            of_operator.append(value)  # some options mean nothing without others
        elif name == "--set":
            check_key(value.partition("=")[0])
    if of_operator:
        build(operator, dotted(of_operator))
    most = sum(1 if p.nargs > 0 else 100 for p in command.params if is_argument(p))
    assert positional <= most, f"{line}: too many words"


def check_key(dotted: str) -> None:
    from transformers import TrainingArguments

    from prefine.training.config import DataConfig, LoraConfig, RunConfig

    inner = {
        "rows": set(DataConfig.model_fields),
        "lora": set(LoraConfig.model_fields),
        "training": {f.name for f in fields(TrainingArguments)},
    }
    key, _, rest = dotted.partition(".")
    assert key in RunConfig.model_fields, f"--set {dotted}"
    assert key not in inner or rest in inner[key], f"--set {dotted}"
