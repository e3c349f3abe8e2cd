"""Figures as inline SVG that follows the page: its font, its text colour and its series colours, by day and by night.

Matplotlib draws with placeholder colours, which are replaced by CSS values; ids get the figure's key as a prefix, so
that several figures live in one page. No address of any kind stays in the markup.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib as mpl
from markupsafe import Markup, escape
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

# Wide enough to read on a phone without zooming: one figure fills its width, two stand side by side on a screen.
_SIZE_INCHES = (4.4, 2.9)
_ROW_INCHES = 0.22
_TEXT = "#010203"
_SERIES = ("#0000a1", "#0000a2", "#0000a3", "#0000a4", "#0000a5")
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "ulmfit",
    "text.parse_math": False,
    "font.size": 8.5,
    "axes.titlesize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.edgecolor": _TEXT,
    "axes.labelcolor": _TEXT,
    "axes.titlecolor": _TEXT,
    "text.color": _TEXT,
    "xtick.color": _TEXT,
    "ytick.color": _TEXT,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a chart. color: an index; shape: `line` (faint, for training), `points` (marked, for validation).

    band: the lower and upper ends of an interval about each point.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    color: int = 0
    shape: Literal["line", "points", "dashed"] = "line"
    band: tuple[Sequence[float], Sequence[float]] | None = None


@dataclass(frozen=True, slots=True)
class Axes:
    """What a chart is called and what its axes measure."""

    key: str
    title: str
    x_label: str
    y_label: str
    log_x: bool = False


@dataclass(frozen=True, slots=True)
class Bar:
    """A value with its interval, by name; color: an index."""

    label: str
    value: float
    low: float
    high: float
    color: int = 0


def line_chart(axes: Axes, series: Sequence[Series]) -> Markup:
    """Draw lines over a common x axis."""
    with mpl.rc_context(_STYLE):
        figure, plot = _figure(axes)
        for line in series:
            color = _SERIES[line.color % len(_SERIES)]
            style: dict[str, Any] = {"color": color, "linewidth": 1.6}
            if line.shape == "line":
                style |= {"linewidth": 1.1, "alpha": 0.55}
            elif line.shape == "points":
                style |= {"marker": "o", "markersize": 3.5}
            else:
                style |= {"linestyle": (0, (3, 2)), "linewidth": 1.2}
            plot.plot(line.x, line.y, label=line.label, **style)
            if line.band is not None:
                plot.fill_between(line.x, *line.band, color=color, alpha=0.15, linewidth=0)
        if axes.log_x:
            plot.set_xscale("log")
            places = sorted({x for line in series for x in line.x})
            # The scale's own labels are formulas, which are not parsed here.
            plot.set_xticks(places, [f"{x / 1000:g}k" if x >= 1000 else f"{x:g}" for x in places])
            plot.set_xticks([], minor=True)
        if len(series) > 1:
            plot.legend()
        return _svg(figure, axes)


def bar_chart(axes: Axes, bars: Sequence[Bar]) -> Markup:
    """Draw values as points on rows of their own, with their intervals: the first one on top."""
    with mpl.rc_context(_STYLE):
        figure, plot = _figure(axes, rows=len(bars))
        for row, bar in enumerate(bars):
            color = _SERIES[bar.color % len(_SERIES)]
            plot.plot([bar.low, bar.high], [row, row], color=color, linewidth=1.6)
            plot.plot([bar.value], [row], color=color, marker="o", markersize=4)
        plot.axvline(bars[0].value, color=_TEXT, linewidth=0.7, alpha=0.5, linestyle=(0, (3, 2)))
        plot.set_yticks(range(len(bars)), [bar.label for bar in bars])
        plot.set_ylim(len(bars) - 0.5, -0.5)
        return _svg(figure, axes)


def share_chart(axes: Axes, rows: Sequence[str], parts: Sequence[tuple[str, Sequence[float]]]) -> Markup:
    """Draw each row (the first on top) as a bar of parts (name, their lengths by row), in the order of the colours."""
    with mpl.rc_context(_STYLE):
        figure, plot = _figure(axes, rows=len(rows), least=1.7)
        start = [0.0] * len(rows)
        for color, (name, values) in zip(_SERIES, parts, strict=False):
            plot.barh(range(len(rows)), values, left=start, color=color, height=0.72, linewidth=0, label=name)
            start = [a + b for a, b in zip(start, values, strict=True)]
        plot.set_yticks(range(len(rows)), rows)
        plot.set_ylim(len(rows) - 0.4, -0.6)
        plot.set_xlim(0, max([*start, 1e-9]))
        plot.grid(visible=False, axis="y")
        _legend_above(figure, plot, len(parts))
        return _svg(figure, axes)


def histogram_chart(axes: Axes, edges: Sequence[float], parts: Sequence[tuple[str, Sequence[float]]]) -> Markup:
    """Draw counts between edges as lines of steps, one for each part (name, counts), on a logarithmic scale."""
    with mpl.rc_context(_STYLE):
        figure, plot = _figure(axes)
        for color, (name, counts) in zip(_SERIES, parts, strict=False):
            plot.stairs(counts, edges, color=color, linewidth=1.4, label=name)
        # From 0, and 1 still to be seen.
        plot.set_yscale("symlog", linthresh=1)
        most = max([1.0, *(count for _, counts in parts for count in counts)])
        ticks = [0, *(10**power for power in range(len(str(int(most)))))]
        plot.set_yticks(ticks, [f"{tick:,}" for tick in ticks])
        plot.set_yticks([], minor=True)
        plot.set_ylim(0, most * 1.6)
        _legend_above(figure, plot, len(parts))
        return _svg(figure, axes)


def range_chart(axes: Axes, rows: Sequence[tuple[str, Sequence[float]]]) -> Markup:
    """Draw five numbers a row (name, numbers) on a logarithmic scale: a line, a box within it, the middle as a mark."""
    with mpl.rc_context(_STYLE):
        figure, plot = _figure(axes, rows=len(rows), least=1.7)
        for row, (_, (low, first, middle, third, high)) in enumerate(rows):
            plot.plot([low, high], [row, row], color=_SERIES[0], linewidth=1)
            plot.barh([row], [third - first], left=[first], color=_SERIES[0], height=0.55, linewidth=0, alpha=0.5)
            plot.plot([middle], [row], color=_SERIES[1], marker="|", markersize=8, markeredgewidth=2)
        plot.set_xscale("log")
        least, most = min(max(n[0], 1) for _, n in rows), max(max(n[4], 10) for _, n in rows)
        ticks = [10**power for power in range(len(str(int(most))) + 1) if least / 2 <= 10**power <= 2 * most]
        plot.set_xticks(ticks, [_short(tick) for tick in ticks])
        plot.set_xticks([], minor=True)
        plot.set_yticks(range(len(rows)), [name for name, _ in rows])
        plot.set_ylim(len(rows) - 0.5, -0.5)
        return _svg(figure, axes)


def reliability_chart(axes: Axes, bins: Sequence[dict[str, Any]]) -> Markup:
    """Draw accuracy over confidence; the area of a point grows with its documents, the diagonal is the truth."""
    with mpl.rc_context(_STYLE):
        figure, plot = _figure(axes)
        plot.plot([0, 1], [0, 1], color=_TEXT, linewidth=0.7, alpha=0.5, linestyle=(0, (3, 2)))
        most = max((row["documents"] for row in bins), default=1)
        x, y = [row["confidence"] for row in bins], [row["accuracy"] for row in bins]
        plot.plot(x, y, color=_SERIES[0], linewidth=1.0, alpha=0.6)
        plot.scatter(x, y, s=[8 + 90 * row["documents"] / most for row in bins], color=_SERIES[0], linewidths=0)
        plot.set_xlim(min([*x, 0.5]) - 0.03, 1.02)
        plot.set_ylim(min([*y, *x, 0.5]) - 0.05, 1.03)
        return _svg(figure, axes)


def _short(number: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:g}{letter}"
    return f"{number:g}"


def _legend_above(figure: Figure, plot: Any, columns: int) -> None:
    """Above what is drawn: bars and steps leave no corner free. A single part needs none."""
    if columns < 2:
        return
    handles, labels = plot.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=columns, handlelength=0.8, columnspacing=1.0)


def _figure(axes: Axes, rows: int = 0, least: float = _SIZE_INCHES[1]) -> tuple[Figure, Any]:
    """A figure as high as its rows need, and at least so many inches."""
    figure = Figure(figsize=(_SIZE_INCHES[0], max(least, 0.7 + _ROW_INCHES * rows)), layout="constrained")
    FigureCanvasSVG(figure)
    plot = figure.add_subplot()
    plot.set_title(axes.title, loc="left")
    plot.set_xlabel(axes.x_label)
    plot.set_ylabel(axes.y_label)
    plot.grid(visible=True, color=_TEXT, alpha=0.12, linewidth=0.5)
    return figure, plot


def _svg(figure: Figure, axes: Axes) -> Markup:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r'\s(xmlns(:xlink)?|version)="[^"]*"', "", text)
    text = text.replace("xlink:href=", "href=")
    text = re.sub(r'\bid="', f'id="{axes.key}-', text)
    text = re.sub(r'(url\(|href=")#', rf"\1#{axes.key}-", text)
    text = re.sub(r" font-family: [^;]*;", "", text)
    text = text.replace(_TEXT, "currentColor")
    for number, color in enumerate(_SERIES):
        text = text.replace(color, f"var(--series-{number})")
    label = escape(f"{axes.title}: {axes.y_label} over {axes.x_label}")
    # Width and height would fix the size; the viewBox keeps the proportions.
    box = text[text.index("viewBox=") :].split('"')[1]
    svg = f'<svg viewBox="{box}" role="img" aria-label="{label}">{text[text.index(">") + 1 :]}'
    return Markup(svg)  # noqa: S704 - made here; the only text from outside is escaped above and by matplotlib
