"""Two or more minima side by side: a row for each measure, its difference as a dot with an interval, its verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..results.base import Array
from ..results.comparison import FIRST, INVARIANT, NOT_COMPARABLE, NOT_RESOLVED, Comparison
from .comparison_parts import (
    GREY,
    LINE,
    SLICE,
    UNDER,
    draw_between,
    draw_legend,
    draw_relations,
    draw_slices,
    head_height,
    keys_of_slices,
    legend_height,
    table_lines,
)
from .comparison_words import (
    ALL,
    COLUMN,
    EDGE,
    GAP,
    LEGEND,
    SMALL,
    SPACE,
    TEXT,
    UNIT,
    Plan,
    fitting,
    number,
    plan,
    width,
)
from .placing import size_of
from .style import WIDTH, look

ABOVE, BELOW = 34.0, 44.0  # points, of a panel's labels above and below it
LEFT, BETWEEN = 50.0, 42.0  # points, left of the slices and of those between minima
PARTS = 10.0  # points, between parts of the page
WIDEST = 2.15  # of the axis, a little beyond 2, where one label has nothing of the other's
NARROWEST = 0.15  # below that dots of what does not differ would look far apart
ROOM = 1.15  # beyond the farthest end
RATIOS = (1.05, 1.1, 1.2, 1.5, 2, 3, 10)  # that may be named at the top, with their inverses
STEPS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)  # between ticks
APART = 5.0  # points, the least distance of the numbers at two ticks
OVER = 5.0  # points, that such a number may reach beyond its axis


@dataclass(frozen=True)
class Page:
    """Axes of a comparison: a panel for each pair; for values (of two labels), the pairs' own measures, slices."""

    panels: Sequence[Axes]
    values: Axes | None = None
    relations: Axes | None = None
    slices: Axes | None = None
    between: Axes | None = None
    columns: int | None = None  # panels in a row; None: all


def comparison_page(found: Comparison, figure: Figure) -> Page:
    """The axes that a comparison fills, in a figure that becomes as high as it needs.

    Panels stand in rows; none where there are no measures.
    """
    planned = plan(found)
    inner = LINE * len(planned.rows)
    rows = -(-len(found.pairs) // planned.columns) if planned.rows else 0
    under = [at is not None for at in (found.slice_loss, found.t)]
    room = (ALL - EDGE - LEFT - (PARTS + BETWEEN if all(under) else 0)) / (sum(under) or 1)
    keys = [names for names, drawn in zip(keys_of_slices(found, planned), under, strict=True) if drawn]
    heights = [head_height(found, planned)]
    heights += [ABOVE + inner + BELOW] * rows
    heights += [LINE * table_lines(found, planned) + PARTS] if found.relations else []
    heights += [PARTS + SLICE + UNDER + max(legend_height(names, room) for names in keys)] if keys else []
    tops = np.cumsum([0, *heights])
    height = tops[-1] + EDGE
    figure.set_layout_engine("none")  # it would make room for long texts by narrowing all that is beside them
    figure.set_size_inches(WIDTH, height / 72)

    def placed(left: float, top: float, across: float, down: float) -> Axes:
        return figure.add_axes((left / ALL, 1 - (top + down) / height, across / ALL, down / height))

    panels = []
    for k in range(len(found.pairs) if rows else 0):
        row, column = divmod(k, planned.columns)
        left = planned.left + column * (planned.panel + GAP)
        panels.append(placed(left, tops[1 + row] + ABOVE, planned.panel, inner))
    values = None
    if len(panels) == 1:
        right = planned.left + planned.panel + SPACE
        values = placed(right, tops[1] + ABOVE, ALL - EDGE - right, inner)
    relations = placed(0, tops[1 + rows], ALL, heights[1 + rows] - PARTS) if found.relations else None
    slices, between = (
        placed(ALL - EDGE - room if last else LEFT, tops[-2] + PARTS, room, SLICE) if drawn else None
        for last, drawn in enumerate(under)
    )
    return Page(panels, values, relations, slices, between, planned.columns)


def draw_comparison(found: Comparison, page: Page) -> None:
    """A panel for each pair, a row for each measure; beside it values and units, below it what is of the pairs.

    A dot is the difference over the mean magnitude of both, 2 (a - b) / (|a| + |b|), between -2 and 2; its interval is
    that of the difference on the same scale, with an arrow where it is cut. In colour and marker of the label that is
    higher; hollow and grey: not resolved. Above, the ratio a / b of two positive values that it stands for. At the
    foot the loss of every minimum along one random direction, and between the minima of each pair.
    """
    planned = plan(found)
    for k, axes in enumerate(page.panels):
        if planned.rows:
            _panel(found, k, axes, planned, named=k % (page.columns or len(page.panels)) == 0)
        else:
            axes.set_axis_off()
    if page.values is not None:
        _values(found, page.values, planned)
    if page.relations is not None:
        draw_relations(found, planned, page.relations)
    if page.slices is not None:
        draw_slices(found, planned, page.slices)
    if page.between is not None:
        draw_between(found, planned, page.between)
    foot = [axes for axes in (page.slices, page.between) if axes is not None]
    if foot:
        foot[0].set_ylabel("train loss", fontsize=LEGEND)
    draw_legend(found, planned, next(axes for axes in (*page.panels, page.relations, *foot) if axes is not None))


def normalised(found: Comparison, k: int) -> tuple[Array, Array, Array]:
    """The differences of a pair and their ends over the mean magnitude of both values; 0 where both are zero."""
    size = (np.abs(found.value[:, found.first[k]]) + np.abs(found.value[:, found.second[k]])) / 2
    value, low, high = (
        np.divide(ends[:, k], size, out=np.zeros_like(size), where=size != 0)
        for ends in (found.difference, found.difference_low, found.difference_high)
    )
    return value, low, high


def _panel(found: Comparison, k: int, axes: Axes, planned: Plan, *, named: bool) -> None:
    value, low, high = normalised(found, k)
    ends = np.abs(np.concatenate([value, low, high]))
    edge = min(WIDEST, max(NARROWEST, ROOM * ends[np.isfinite(ends)].max(initial=0.0)))
    rows = planned.rows
    for at, row in enumerate(rows):
        if isinstance(row, str):
            continue
        if at % 2:
            axes.axhspan(-at - 0.5, -at + 0.5, color="0.965", linewidth=0, zorder=-3)
        _dot(found, axes, (row, k), -at, (float(value[row]), float(low[row]), float(high[row])), edge)
    axes.axvline(0, color="0.3", linewidth=0.6, zorder=-1)
    axes.set(xlim=(-edge, edge), ylim=(-len(rows) + 0.5, 0.5))
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0, pad=SPACE)
    scale = size_of(axes)[0] / (2 * edge)  # points of a unit of the axis
    axes.set_xticks(_ticks(edge, scale))
    axes.tick_params(axis="x", labelsize=TEXT)
    between = ", " if len(found.pairs) == 1 else "\n"
    axes.set_xlabel(f"{planned.pair(found, k, ' - ')}{between}over their mean size", fontsize=TEXT)
    axes.set_yticks([-at for at in range(len(rows))] if named else [])
    if named:
        axes.set_yticklabels(planned.names, fontsize=TEXT)
        for row, text in zip(rows, axes.get_yticklabels(), strict=True):
            text.set_fontweight("bold" if isinstance(row, str) else "normal")
            invariant = not isinstance(row, str) and found.scaling[row] == INVARIANT
            text.set_fontstyle("italic" if invariant else "normal")
    _ratios(axes, edge, scale, planned.pair(found, k, " / "))


def _ticks(edge: float, scale: float) -> Array:
    """Places from -edge to edge, zero among them, as close as their numbers may stand."""
    for step in STEPS:
        text = width(f"\N{MINUS SIGN}{step:g}")
        count = math.floor((edge - (text / 2 - OVER) / scale) / step)
        if count and step * scale >= text + APART:
            return step * np.arange(-count, count + 1)
    return np.zeros(1)


def _ratios(axes: Axes, edge: float, scale: float, name: str) -> None:
    """Names of ratios r along the top, at 2 (r - 1) / (r + 1), as far apart as their text needs."""
    ratios, last, end = [1.0], 0.0, width("1") / 2
    for ratio in RATIOS:
        place, half = 2 * (ratio - 1) / (ratio + 1), max(map(width, (f"{ratio:g}", f"{1 / ratio:.2g}"))) / 2
        inside = place <= edge and (edge - place) * scale >= half - OVER
        if inside and (place - last) * scale >= half + end + APART:
            ratios, last, end = [1 / ratio, *ratios, ratio], place, half
    places = [2 * (ratio - 1) / (ratio + 1) for ratio in ratios]
    top = axes.secondary_xaxis("top")
    top.set_xticks(places, [f"{ratio:.2g}" if ratio < 1 else f"{ratio:g}" for ratio in ratios], fontsize=TEXT)
    top.set_xlabel(name, fontsize=LEGEND)
    for place in places:
        axes.axvline(place, color="0.88", linewidth=0.5, zorder=-2)


def _dot(
    found: Comparison, axes: Axes, cell: tuple[int, int], row: float, ends: tuple[float, float, float], edge: float
) -> None:
    (value, low, high), verdict = ends, int(found.verdict[cell])
    if verdict == NOT_COMPARABLE:
        style = {"fontsize": TEXT - 1, "color": GREY, "style": "italic", "ha": "center", "va": "center"}
        axes.text(0, row, "not comparable", bbox={"color": "white", "pad": 0.3}, **style)
        return
    higher = look(int((found.first if verdict == FIRST else found.second)[cell[1]]))
    resolved = verdict != NOT_RESOLVED
    colour = higher["color"] if resolved else GREY
    if math.isfinite(low + high):
        axes.plot([max(low, -edge), min(high, edge)], [row, row], color=colour, linewidth=1.1, solid_capstyle="butt")
        for beyond, place, marker in ((low < -edge, -edge, "<"), (high > edge, edge, ">")):
            if beyond:
                axes.plot([place], [row], marker=marker, color=colour, markersize=3, clip_on=False)
    face = colour if resolved else "white"
    shape = higher["marker"] if resolved else "o"
    axes.plot([value], [row], marker=shape, color=colour, markerfacecolor=face, markersize=3.6, markeredgewidth=0.8)


def _values(found: Comparison, axes: Axes, planned: Plan) -> None:
    """The values of both labels and the unit, in columns."""
    axes.set_axis_off()
    axes.set(xlim=(0, 2 * COLUMN + UNIT), ylim=(-len(planned.rows) + 0.5, 0.5))
    places = (0, COLUMN, 2 * COLUMN)
    for place, head in zip(places, (*planned.labels, "unit"), strict=True):
        axes.annotate(head, (place, 0.5), (0, 3), textcoords="offset points", fontsize=TEXT)
    for at, row in enumerate(planned.rows):
        if isinstance(row, int):
            unit = "" if found.units[row] == "1" else found.units[row].replace("^2", "\N{SUPERSCRIPT TWO}")
            cells = (*map(number, found.value[row]), fitting(unit, UNIT, SMALL))
            for place, cell in zip(places, cells, strict=True):
                axes.text(place, -at, cell, fontsize=SMALL, va="center_baseline")
