"""Inline SVG: the same input gives the same text, and its colours follow the page's."""

from __future__ import annotations

import html
import io
import re
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, MUTED, GRID = "#1b2430", "#556273", "#d5dbe3"
GIVEN, CLEAN, PLAIN = "#a84e14", "#1f66a8", "#7c8896"

_VARIABLES = {
    INK: "ink",
    MUTED: "muted",
    GRID: "grid",
    GIVEN: "given",
    CLEAN: "clean",
    PLAIN: "plain",
}
"""CSS variables that the page sets for light and dark; the colour stays as the fallback."""

_WIDTH = 440
_DEFAULTS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "tailcut",
    "text.parse_math": False,
    "font.size": 12.5,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": GRID,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "lines.linewidth": 2.2,
}


def render(
    name: str,
    label: str,
    draw: Callable[[Axes], object],
    *,
    height: int = 280,
    margins: tuple[int, int, int, int] = (62, 46, 8, 22),
) -> str:
    """One figure of a single axes, as SVG text for an HTML page.

    Args:
        name: Prefix of every id, unique on the page.
        label: What the figure shows, for those who cannot see it.
        draw: Fills the axes.
        height: In points; every figure is 440 wide.
        margins: Points left free around the axes: left, below, right, above.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    text = io.StringIO()
    with mpl.rc_context(), warnings.catch_warnings():
        # The browser sets the text, in fonts that have the glyphs matplotlib's lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        mpl.rcdefaults()
        mpl.rcParams.update(_DEFAULTS)
        figure = Figure(figsize=(_WIDTH / 72, height / 72))
        draw(figure.add_axes(_inside(height, margins)))
        nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(text, format="svg", transparent=True, metadata=nothing)
    return _inlined(text.getvalue(), name, label)


def _inside(height: int, margins: tuple[int, int, int, int]) -> tuple[float, float, float, float]:
    left, below, right, above = margins
    width = (_WIDTH - left - right) / _WIDTH
    return left / _WIDTH, below / height, width, (height - below - above) / height


def _inlined(text: str, name: str, label: str) -> str:
    """No prologue, no style that leaks into the page, ids of its own, the page's colours."""
    body = text[text.index("<svg") :]
    body = re.sub(
        r"<!--.*?-->|<metadata>.*?</metadata>|<style.*?</style>", "", body, flags=re.DOTALL
    )
    body = re.sub(r"<[^<>]+>", lambda tag: _adapted(tag.group(), name), body)
    box = re.search(r'viewBox="[^"]*"', body)
    assert box is not None
    root = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'{box.group()} role="img" aria-label="{html.escape(label)}">'
    )
    return re.sub(r"\n\s*", "\n", root + body[body.index(">") + 1 :]).strip()


def _adapted(tag: str, name: str) -> str:
    tag = re.sub(r'(\bid="|href="#|url\(#)', rf"\1{name}-", tag)
    for colour, variable in _VARIABLES.items():
        tag = tag.replace(colour, f"var(--{variable}, {colour})")
    return tag
