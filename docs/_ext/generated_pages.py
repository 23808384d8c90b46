"""Writes the pages that are made from the code: reference, methods, numbers, command line.

They go to docs/reference/generated, which is not committed: a page cannot lag behind the code.
"""

import importlib
import inspect
import pkgutil
import re
from pathlib import Path
from typing import Any

import prefine

SHOWN_MODULES = (
    "prefine.objectives.declare",
    "prefine.objectives.transforms",
    "prefine.objectives.combine",
    "prefine.objectives.logic",
)
"""Public modules inside a package whose names are not the package's own."""


def setup(app: Any) -> dict[str, Any]:
    app.connect("builder-inited", write_pages)
    app.connect("autodoc-process-docstring", literal_backticks)
    app.connect("autodoc-process-signature", plain_signature)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def write_pages(app: Any) -> None:
    folder = Path(app.srcdir) / "reference" / "generated"
    folder.mkdir(parents=True, exist_ok=True)
    pages = {name: module_page(name) for name in public_modules()}
    pages |= {
        "methods": methods_page(),
        "formats": formats_page(),
        "numbers": numbers_page(),
        "command-line": command_line_page(),
    }
    for old in folder.glob("*.md"):
        if old.stem not in pages:
            old.unlink()
    for name, text in pages.items():
        page = folder / f"{name}.md"
        if not page.exists() or page.read_text(encoding="utf-8") != text:
            page.write_text(text, encoding="utf-8")


CODE = re.compile(
    r"(?P<kept>^ *>>>.*?(?=\n *\n|\Z)|:[\w:]+:`[^`]*`|``.*?``)|`(?P<code>[^`]+)`(?P<after>\w?)",
    re.MULTILINE | re.DOTALL,
)
"""Doctests, roles and RST literals stay; what else stands in single backticks is code."""


def literal_backticks(app: Any, kind: str, name: str, thing: Any, options: Any, lines: Any) -> None:
    """Turn Markdown's single backticks, also before a plural s, into RST's double ones."""
    lines[:] = CODE.sub(_literal, "\n".join(lines)).split("\n")


def _literal(found: re.Match[str]) -> str:
    if found["kept"]:
        return found["kept"]
    return f"``{found['code']}``" + (f"\\ {found['after']}" if found["after"] else "")


def plain_signature(
    app: Any, kind: str, name: str, thing: Any, options: Any, signature: str | None, result: Any
) -> tuple[str | None, Any]:
    """Show the type of an option, not the range that `Annotated` adds: the text says it."""
    if signature is not None:
        signature = re.sub(r"Annotated\[(\w+), [^\[\]]*\]", r"\1", signature)
    return signature, result


def public_modules() -> list[str]:
    """Return top-level modules and packages with public names, and what they hold besides."""
    top = [m.name for m in pkgutil.iter_modules(prefine.__path__, "prefine.")]
    inner = [
        m.name
        for package in ("prefine.ledger",)
        for m in pkgutil.iter_modules(importlib.import_module(package).__path__, package + ".")
    ]
    hidden = {"prefine.__main__", "prefine.cli"}
    return [
        name
        for name in sorted({*top, *inner, *SHOWN_MODULES} - hidden)
        if members(importlib.import_module(name))
    ]


def members(module: Any) -> list[str]:
    """Return the public names of a module: its `__all__`, or what is defined and documented."""
    if hasattr(module, "__all__"):
        return [name for name in module.__all__ if not inspect.ismodule(getattr(module, name))]
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    ]


def module_page(name: str) -> str:
    module = importlib.import_module(name)
    names = ", ".join(members(module))
    return f"""# {name}

```{{eval-rst}}
.. automodule:: {name}
   :members: {names}
```
"""


# --- Methods -------------------------------------------------------------------------------------


METHODS = """# Methods

Made from `prefine.objectives.__all__`; `prefine train --list` prints them on a terminal. In the
formulas, *l* is the log-probability of a response in nats, *h* its difference to the reference's,
*r* a reward; the index *w* means the chosen, *l* the rejected response; *n* counts scored tokens
and *p* is the soft label, 1 where labels are hard. *Row-wise* losses see one row at a time,
*stateful* ones carry a statistic from step to step, *coupled* ones see the whole batch. *Curves*
says what a healthy run looks like, by the names of [the metrics](../../explanation/metrics.md); a
first loss that is written as a number is checked by a test.

| name | what it does | rows | kind | reference |
|---|---|---|---|---|
"""


def methods_page() -> str:
    from prefine.objectives import registry

    methods = [registry.describe(name) for name in registry.names()]
    table = [
        f"| [`{m['name']}`](#method-{m['name']}) | {cleaned(m['summary'])} | {m['data']} | "
        f"{m['kind']} | {'yes' if m['reference'] else 'no'} |"
        for m in methods
    ]
    return METHODS + "\n".join([*table, "", *(method_section(m) for m in methods)])


def method_section(method: dict[str, Any]) -> str:
    name = method["name"]
    lines = [f"(method-{name})=", f"## {name}", ""]
    if method["other_names"]:
        others = ", ".join(f"`{other}`" for other in method["other_names"])
        lines += [f"Looked for as {others}.", ""]
    for equation in method["math"]:
        lines += ["```{math}", equation, "```", ""]
    lines += ["With the default options:", "", "```text", method["formula"], "```", ""]
    if method["options"]:
        lines += ["| option | default | must be | usual | meaning |", "|---|---|---|---|---|"]
        lines += [
            f"| `{key}` | `{option['default']}` | {cleaned(option['must_be'])} | "
            f"{usual(option['usual'])} | {code_in_text(cleaned(option['text']))} |"
            for key, option in method["options"].items()
        ]
    else:
        lines.append("It has no options.")
    lines += ["", f"**Curves.** {method['curves']}", "", f"**Pitfalls.** {method['pitfalls']}", ""]
    read = [f"`{column}`" for column in (*method["fields"], *method["columns"])]
    lines += ["", f"Reads, where the data has them: {', '.join(read)}." if read else "", ""]
    return "\n".join(
        [*lines, f"Source: {method['source']} Python: {{py:func}}`prefine.objectives.{name}`.", ""]
    )


def usual(bounds: list[float] | None) -> str:
    return "" if bounds is None else f"{bounds[0]:g} to {bounds[1]:g}"


def code_in_text(text: str) -> str:
    """Docstrings may hold RST roles; in a Markdown table their content is shown as code."""
    return re.sub(r":\w+:`([^`]*)`", r"`\1`", text)


# --- Formats -------------------------------------------------------------------------------------


FORMATS_TEXT = """# Data formats

Made from `prefine.records.formats.FORMATS`; `prefine data formats` prints the list. A format is
known by its columns: name it (`--format`) only where the columns do not say enough. What a format
cannot hold is listed when it is written. Rows of the last few, the generic ones, are taken for what
they are only where no other format fits.

| name | rows | comes as | written |
|---|---|---|---|
"""


def formats_page() -> str:
    from prefine.records.formats import FORMATS

    found = sorted(FORMATS.values(), key=lambda each: each.generic)
    table = [
        f"| [`{each.name}`](#format-{each.name}) | {cleaned(each.description)} | "
        f"{', '.join(sorted(each.kinds))} | {'yes' if each.write else 'no'} |"
        for each in found
    ]
    sections = [
        f"(format-{each.name})=\n## {each.name}\n\n{documentation(each.read)}\n" for each in found
    ]
    return FORMATS_TEXT + "\n".join([*table, "", *sections])


def documentation(function: Any) -> str:
    """Return the docstring of the module in which a function stands."""
    return inspect.cleandoc(importlib.import_module(function.__module__).__doc__ or "")


# --- Numbers of an evaluation --------------------------------------------------------------------


COMPARED = {
    "p": "probability of a difference this large between arms that do not differ",
    "p (Holm)": "the same, adjusted for all differences that are told together",
    "differs": "said where the adjusted p-value is below 0.05",
}
"""Columns of `prefine compare` beside its numbers, of which each is one a row, then averaged."""


def numbers_page() -> str:
    from prefine.audit import measures
    from prefine.bench.table import MEANINGS as BENCH
    from prefine.evaluation import grids, ranking, reward
    from prefine.ledger.demo_report import MEANINGS as DEMO
    from prefine.ledger.demo_report import NUMBERS
    from prefine.training.report import MORE_MEANINGS

    lines = [
        "# Numbers of an evaluation",
        "",
        "What a run ends with and `prefine evaluate` prints, each with its 95% interval. Where "
        "rows carry tags (a subset, a language, a topic), accuracy and baseline follow for each "
        "group.",
        "",
    ]
    tables: dict[str, Any] = {
        "Reward models": reward.MEANINGS,
        "Policies": ranking.MEANINGS,
        "Lists, single responses and denoising": MORE_MEANINGS,
        "Grids of instructions and responses": grids.MEANINGS,
        "Comparisons": measures.MEANINGS | COMPARED,
        "The demo": {name: DEMO.get(name, "") for name in NUMBERS},
        "The benchmark": BENCH,
    }
    for title, meanings in tables.items():
        lines += [f"## {title}", "", "| name | meaning |", "|---|---|"]
        lines += [f"| `{name}` | {cleaned(text)} |" for name, text in meanings.items()]
        lines.append("")
    return "\n".join(lines)


# --- Command line --------------------------------------------------------------------------------


def command_line_page() -> str:
    import typer

    from prefine.cli.main import app

    lines = [
        "# Command line",
        "",
        "Exit codes: 0 held, 1 failed, 2 misuse. The same text as `--help`.",
        "",
    ]
    for path, command in walk(typer.main.get_command(app), ("prefine",)):
        lines += command_section(path, command)
    return "\n".join(lines)


def walk(command: Any, path: tuple[str, ...]) -> list[tuple[tuple[str, ...], Any]]:
    """Return every command that does something, depth first."""
    inner = getattr(command, "commands", None)
    if not inner:
        return [(path, command)]
    return [found for name, child in inner.items() for found in walk(child, (*path, name))]


def command_section(path: tuple[str, ...], command: Any) -> list[str]:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and p.name != "help"]
    usage = " ".join([*path, *map(word, arguments), "[OPTIONS]" if options else ""])
    lines = [f"## {' '.join(path)}", "", "```text", usage, "```", "", cleaned(command.help), ""]
    if arguments or options:
        lines += ["| option | meaning | default |", "|---|---|---|"]
    for p in arguments:
        lines.append(f"| `{word(p)}` | {cleaned(p.help)} | |")
    for p in options:
        names = ", ".join(f"`{name}`" for name in p.opts)
        default = "" if p.default in (None, False) or callable(p.default) else f"`{p.default}`"
        lines.append(f"| {names} | {cleaned(p.help)} | {default} |")
    return [*lines, ""]


def word(argument: Any) -> str:
    return argument.metavar or argument.name.upper()


def cleaned(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")
