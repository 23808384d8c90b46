"""From axes to an inline SVG that follows the page: its font, its colours, light or dark."""

import re
from collections.abc import Callable
from typing import Any

from prefine.storage import content_hash

INK, MUTED, LINE = "#22262b", "#6b7078", "#dcdcd6"
SERIES = ("#2b6a94", "#c26a2e", "#4c8657", "#85589b", "#8c8c86")
"""Colours that differ for colour-blind readers too; the page may replace every one."""

_VARIABLES = {INK: "--ink", MUTED: "--muted", LINE: "--line"} | {
    colour: f"--series-{number}" for number, colour in enumerate(SERIES, start=1)
}

_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "prefine",
    "text.parse_math": False,  # a label with two dollar signs is a label
    "text.usetex": False,
    "path.simplify": False,
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": LINE,
    "axes.linewidth": 1.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "axes.unicode_minus": False,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
}


def draw(
    paint: Callable[..., None], *, width: float = 4.6, height: float = 2.7, panels: int = 1
) -> str:
    """Draw on fresh axes and return the picture.

    Args:
        paint: Called with the axes; with an array of them where there are several panels.
        width: Width in inches at the size of the page's text.
        height: Height in inches.
        panels: Number of axes, one below the other.

    Returns:
        An `<svg>` element: the same drawing gives the same text, byte for byte.
    """
    import io
    import warnings

    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure as Sheet

    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        # The reader's own fonts draw the text; matplotlib's only measure it.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        sheet = Sheet(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(sheet)
        paint(sheet.subplots(panels))
        buffer = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        sheet.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    return _inline(buffer.getvalue())


def on_white(svg: str) -> str:
    """Return a drawing as a file of its own: it has no page to stand on.

    Example:
        >>> on_white('<svg style="width: 9px"></svg>')
        '<svg style="background: #fff; width: 9px"></svg>'
    """
    return svg.replace('<svg style="', '<svg style="background: #fff; ', 1)


def _inline(svg: str) -> str:
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.S)
    svg = re.sub(r"<!--.*?-->\s*", "", svg, flags=re.S)
    width = re.search(r'<svg[^>]*?\swidth="([\d.]+)pt"', svg)
    svg = re.sub(r'(<svg[^>]*?)\s(?:width|height)="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?)\sheight="[^"]*"', r"\1", svg, count=1)
    if width:
        natural = f'<svg style="width: {float(width[1]) * 4 / 3:.0f}px"'
        svg = svg.replace("<svg", natural, 1)
    # Newer releases of matplotlib name the family apart, older ones within the `font` shorthand.
    svg = re.sub(r"font-family: [^;\"]+", "font-family: var(--sans, sans-serif)", svg)
    svg = re.sub(r"(font: [^;\"]*?[\d.]+px) [^;\"]+", r"\1 var(--sans, sans-serif)", svg)
    svg = re.sub(r'\b(?:d|x|y)="[^"]*"', lambda match: _shorter(match[0]), svg)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, f"var({variable}, {colour})")
    return _own_names(svg)


def _shorter(coordinates: str) -> str:
    """Cut coordinates to a hundredth of a point: a third of the size, the same picture."""
    return re.sub(r"(\.\d\d)\d+", r"\1", coordinates)


def _own_names(svg: str) -> str:
    """Keep only the ids that something refers to, and make them this picture's own."""
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg))
    own = content_hash([svg], length=8)

    def rename(match: re.Match[str]) -> str:
        return f' id="{own}-{match[1]}"' if match[1] in used else ""

    svg = re.sub(r'\sid="([^"]*)"', rename, svg)
    return re.sub(r'(href="#|url\(#)', rf"\g<1>{own}-", svg)
