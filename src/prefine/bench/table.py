"""What the benchmark prints and draws."""

from collections.abc import Mapping, Sequence
from typing import Any

from prefine.report.canvas import on_white
from prefine.report.figures import bars
from prefine.statistics import Stat

Results = Sequence[Mapping[str, Any]]

HEADER = (
    "| case | against | model, prompt, response, responses | seconds a step | faster by | goal | "
    "tokens a step | training memory | goal | products' share |\n|" + "---|" * 10
)

MEANINGS = {
    "seconds a step": "median of each side, prefine first",
    "faster by": "seconds of the other side by prefine's, over pairs of steps on the same rows",
    "goal": "the least ratio asked for, the most memory, or the least share",
    "tokens a step": "as each side computes them: padding and repeated prompts count",
    "training memory": "prefine's peak above its start, by the other side's; no interval",
    "products' share": "share of our step that its products would take alone, at their best",
}
"""What the columns of the table say that are measured."""


def timed(results: Results) -> list[Mapping[str, Any]]:
    """Return the cases that were not skipped."""
    return [made for made in results if "skipped" not in made]


def show(results: Results) -> str:
    """Return the table, the worst case last."""
    lines = [HEADER, *map(_line, results)]
    lines += [
        f"\n{made['name']}: products' share above 1, an error of measuring"
        for made in timed(results)
        if "products" in made and made["products"]["low"] > 1
    ]
    if timed(results):
        worst = min(timed(results), key=lambda made: made["speed"]["value"])
        lines.append(f"\nworst: {worst['name']}, {worst['speed']['value']:.2f}")
    return "\n".join(lines)


def _line(made: Mapping[str, Any]) -> str:
    case = made["case"]
    against = f"{case['against']}, as shipped" if case["shipped"] else case["against"]
    shape = ", ".join(str(case[k]) for k in ("preset", "prompt", "response", "responses"))
    cells = [made["name"], against, shape]
    if "skipped" in made:
        return _row([*cells, f"skipped: {made['skipped']}", *[""] * 6])
    goal, sides = made["goal"], ("prefine", case["against"])
    share = _stat(made["products"]) if "products" in made else ""
    return _row(
        [
            *cells,
            ", ".join(f"{made['seconds'][side]['median']:.2f}" for side in sides),
            _stat(made["speed"]),
            _asked(goal["speed"], "≥"),
            ", ".join(f"{made['tokens'][side]:.0f}" for side in sides),
            f"{made['training_memory']['ratio']:.2f}",
            _asked(goal["memory"], "≤"),
            f"{share} {_asked(goal['products'], '≥')}".strip(),
        ]
    )


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _stat(value: Mapping[str, Any]) -> str:
    return f"{value['value']:.2f} [{value['low']:.2f}, {value['high']:.2f}]"


def _asked(value: float | None, sign: str) -> str:
    return "" if value is None else f"{sign} {value:g}"


def picture(results: Results) -> str:
    """Return an SVG of the ratios; bars start at 1, where both sides are equally fast."""
    stats = {made["name"]: Stat.from_json(made["speed"]) for made in timed(results)}
    drawn = bars(stats, xlabel="seconds a step, the other side by prefine", mark=1.0)
    return on_white(drawn.svg)
