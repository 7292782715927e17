"""Drawings as a part of a page: inline SVG in the page's own colours and letters, named by its alternative text."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from jinja2.filters import do_forceescape

from pages.template import printable

# Inches and points: as wide as a phone, so that letters there are nearly as tall as those of the text.
WIDTH, HEIGHT, LETTERS = 3.9, 2.8, 10.0
# matplotlib draws in these; the page then has its own colours in their place, which change with the reader's scheme.
INK, FIRST, SECOND, FAINT = "#010203", "#010204", "#010205", "#010206"
_VARIABLES = {INK: "currentColor", FIRST: "var(--first)", SECOND: "var(--second)", FAINT: "var(--line)"}
# Letters of a name beside an axis; names are the user's, and as long as they like.
NAME_LETTERS = 18


@dataclass(frozen=True)
class Plot:
    """A drawing of the page.

    Attributes
    ----------
    title : str
        What it shows.
    svg : str
        Inline SVG, named by its alternative text.
    """

    title: str
    svg: str


@dataclass(frozen=True)
class Estimate:
    """A share with its interval, as one line of `estimates`.

    Attributes
    ----------
    name : str
        Of what.
    share, low, high : float
        In [0, 1].
    """

    name: str
    share: float
    low: float
    high: float


def plot(
    title: str, alt: str, draw: Callable[[Any], None], *, height: float = HEIGHT, grid: Literal["x", "y", "both"] = "y"
) -> Plot:
    """Draw one pair of axes.

    Parameters
    ----------
    title : str
        What it shows; the page says it, not the drawing.
    alt : str
        The same and the main figures in words, for those who do not see it.
    draw : callable
        Given matplotlib's axes; it draws in `INK`, `FIRST`, `SECOND` and `FAINT` alone.
    height : float
        In inches; the width is `WIDTH`.
    grid : {'x', 'y', 'both'}
        Which way the values are read.

    Returns
    -------
    Plot
        The same bytes for the same drawing.
    """
    import matplotlib
    from matplotlib.figure import Figure

    settings = {
        "svg.fonttype": "none",  # letters, not outlines: they are read out, found and scaled as text
        "svg.hashsalt": title + alt,
        "font.size": LETTERS,
        "font.family": "sans-serif",
        "text.color": INK,
        "text.parse_math": False,  # a dollar sign in a name is one
        "axes.edgecolor": FAINT,
        "axes.labelcolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        # Only the width of a letter is measured here; it is the reader's fonts that draw it.
        warnings.filterwarnings("ignore", message="Glyph")
        # No pyplot: it keeps figures, and looks for a screen.
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        figure.patch.set_alpha(0)
        axes = figure.add_subplot()
        axes.patch.set_alpha(0)
        draw(axes)
        axes.grid(axis=grid, color=FAINT, linewidth=0.6)
        axes.set_axisbelow(True)
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None, "Type": None, "Format": None})
    return Plot(title, _inline(stream.getvalue(), alt))


def estimates(title: str, alt: str, rows: Sequence[Estimate], what: str, whole: float | None = None) -> Plot:
    """Draw shares with their intervals, one below the other, first row on top.

    Parameters
    ----------
    title, alt : str
        As of `plot`.
    rows : sequence of Estimate
        At least one.
    what : str
        What the shares are: the name of the axis.
    whole : float, optional
        The share of all rows: a line to compare with.
    """

    def draw(axes: Any) -> None:
        for at, row in enumerate(rows):
            axes.plot([row.low, row.high], [at, at], color=FIRST, linewidth=3, alpha=0.45, solid_capstyle="round")
            axes.plot([row.share], [at], "o", color=FIRST, markersize=6, clip_on=False)
        if whole is not None:
            axes.axvline(whole, color=SECOND, linestyle="--", linewidth=1.2)
        axes.set_yticks(range(len(rows)), [short(row.name) for row in rows])
        axes.tick_params(axis="y", length=0, pad=8)
        axes.spines["left"].set_visible(False)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlim(0, 1)
        axes.set_xlabel(what)
        percent(axes.xaxis)

    return plot(title, alt, draw, height=0.75 + 0.27 * len(rows), grid="x")


def short(name: str) -> str:
    """Return a name that has room beside an axis: one line, cut."""
    line = printable(" ".join(name.split()))
    return line if len(line) <= NAME_LETTERS else line[: NAME_LETTERS - 1] + "…"


def percent(axis: Any) -> None:
    """Have an axis of shares say percents."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}%"))


def thousands(axis: Any) -> None:
    """Have an axis of counts say whole numbers, by thousands."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.set_major_locator(MaxNLocator(5, integer=True))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def _inline(svg: str, alt: str) -> str:
    """Return a file of SVG as a part of a page: named, as wide as there is room, in the page's colours and letters."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)  # the same in every drawing, and nothing refers to them
    svg = re.sub(r"<!--.*?-->\s*", "", svg, flags=re.DOTALL)  # the texts of the drawing once more
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, variable)
    # Black is what matplotlib leaves out; and its list of fonts would go before the page's.
    svg = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", svg)
    head = re.compile(r'<svg[^>]*?viewBox="([^"]*)"[^>]*>', re.DOTALL)
    svg = head.sub(lambda found: f'<svg viewBox="{found[1]}" role="img" aria-label="{do_forceescape(alt)}">', svg, 1)
    return svg.replace("xlink:href", "href")
