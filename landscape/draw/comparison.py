"""Two or more minima side by side: a row for each measure, its difference as a dot with an interval, its verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..results.base import Array
from ..results.comparison import FIRST, INVARIANT, NONE, NOT_COMPARABLE, NOT_RESOLVED, SECOND, Comparison
from .slices import wide
from .style import MEASURES, WIDTH, look

ROW = 0.16  # inches, of a line of text
HEAD = 1.35  # inches, for axis labels and legend
SLICES = 1.9  # inches, of the slices with their labels
TEXT = 6.5  # points
WIDEST = 2.15  # of the axis, a little beyond 2, where one label has nothing of the other's
NARROWEST = 0.15  # below that dots of what does not differ would look far apart
ROOM = 1.15  # beyond the farthest end
RATIOS = (1.05, 1.1, 1.2, 1.5, 2, 3, 10)  # that may be named at the top, with their inverses
APART = 0.3  # of half the axis: the least distance of two names there
GREY = "0.55"
COLUMNS = (0.0, 0.36, 0.72)  # of the values and the unit
LETTERS = 11  # of a label over its column
SHORTER = {"of the Hessian": "of H", "normalised": "norm."}


@dataclass(frozen=True)
class Page:
    """Axes of a comparison: a panel for each pair; for values (of two labels), the pairs' own measures, slices."""

    panels: Sequence[Axes]
    values: Axes | None = None
    relations: Axes | None = None
    slices: Axes | None = None
    between: Axes | None = None


def comparison_page(found: Comparison, figure: Figure) -> Page:
    """The axes that a comparison fills, in a figure that becomes as high as it needs."""
    pairs = len(found.pairs)
    heights = [ROW * len(_rows(found))]
    heights += [ROW * (len(found.relations) + 1)] if found.relations else []
    drawn = [losses is not None for losses in (found.slice_loss, found.t)]
    heights += [SLICES] if any(drawn) else []
    figure.set_size_inches(WIDTH, HEAD + sum(heights))
    grid = figure.add_gridspec(len(heights), 1, height_ratios=heights)
    widths = [1.0] * pairs if pairs > 1 else [1.0, 0.62]
    top = grid[0].subgridspec(1, len(widths), width_ratios=widths)
    below = grid[-1].subgridspec(1, sum(drawn)) if any(drawn) else None
    return Page(
        panels=[figure.add_subplot(top[0, k]) for k in range(pairs)],
        values=figure.add_subplot(top[0, 1]) if pairs == 1 else None,
        relations=figure.add_subplot(grid[1].subgridspec(1, len(widths), width_ratios=widths)[0, :pairs])
        if found.relations
        else None,
        slices=figure.add_subplot(below[0, 0]) if below is not None and drawn[0] else None,
        between=figure.add_subplot(below[0, -1]) if below is not None and drawn[1] else None,
    )


def draw_comparison(found: Comparison, page: Page) -> None:
    """A panel for each pair, a row for each measure; beside it values and units, below it what is of the pairs.

    A dot is the difference over the mean magnitude of both, 2 (a - b) / (|a| + |b|), between -2 and 2; its interval is
    that of the difference on the same scale, with an arrow where it is cut. In colour and marker of the label that is
    higher; hollow and grey: not resolved. Above, the ratio a / b of two positive values that it stands for. At the
    foot the loss of every minimum along one random direction, and between the minima of each pair.
    """
    rows = _rows(found)
    for k, axes in enumerate(page.panels):
        _panel(found, k, axes, rows, named=k == 0)
    if page.values is not None:
        _values(found, page.values, rows)
    if page.relations is not None:
        _relations(found, page.relations)
    if page.slices is not None:
        _slices(found, page.slices)
    if page.between is not None:
        _between(found, page.between)
    _legend(found, page.panels[0])


def _slices(found: Comparison, axes: Axes) -> None:
    assert found.alpha is not None
    assert found.slice_loss is not None
    for index, loss in enumerate(found.slice_loss):
        axes.plot(found.alpha, loss, markevery=5, markersize=3, **look(index))
    _scaled(axes, list(found.slice_loss))
    axes.set(xlabel="step along a random direction,\nin norms of the filters", ylabel="train loss")


def _between(found: Comparison, axes: Axes) -> None:
    """Between the minima of each pair; dashed where the second's hidden units are permuted to fit the first's."""
    assert found.t is not None
    pairs = found.pairs
    for losses, dash in ((found.between_loss, "-"), (found.aligned_loss, "--")):
        for k, loss in enumerate(() if losses is None else losses):
            colour = look(len(found.labels) + k + (dash == "--" and len(pairs) == 1))["color"]
            name = " to ".join(pairs[k]) if len(pairs) > 1 else "as they are"
            label = "aligned" if dash == "--" and k == 0 else name if dash == "-" else None
            axes.plot(found.t, loss, color=colour, linestyle=dash, linewidth=1.1, label=label)
    _scaled(axes, [row for losses in (found.between_loss, found.aligned_loss) if losses is not None for row in losses])
    for k, place in enumerate((0.0, 1.0)) if len(pairs) == 1 else ():
        axes.annotate(found.labels[k], (place, 1.0), xycoords=("data", "axes fraction"), fontsize=TEXT, ha="center",
                      va="bottom")  # fmt: skip
    axes.set(xlabel=f"from {pairs[0][0]} to {pairs[0][1]}" if len(pairs) == 1 else "from the first to the second")
    axes.legend(fontsize=TEXT - 0.5, handlelength=1.6)


def _scaled(axes: Axes, losses: list[Array]) -> None:
    """A scale of powers where the losses reach over some."""
    if wide(losses):
        axes.set_yscale("log")
    axes.tick_params(labelsize=TEXT)


def _rows(found: Comparison) -> list[int | str]:
    """Rows from above: measures by index, and the heads of sections."""
    rows: list[int | str] = []
    before = ""
    for m, section in enumerate(found.sections):
        rows += [section, m] if section != before else [m]
        before = section
    return rows


def normalised(found: Comparison, k: int) -> tuple[Array, Array, Array]:
    """The differences of a pair and their ends over the mean magnitude of both values; 0 where both are zero."""
    size = (np.abs(found.value[:, found.first[k]]) + np.abs(found.value[:, found.second[k]])) / 2
    value, low, high = (
        np.divide(ends[:, k], size, out=np.zeros_like(size), where=size != 0)
        for ends in (found.difference, found.difference_low, found.difference_high)
    )
    return value, low, high


def _panel(found: Comparison, k: int, axes: Axes, rows: Sequence[int | str], *, named: bool) -> None:
    value, low, high = normalised(found, k)
    ends = np.abs(np.concatenate([value, low, high]))
    edge = min(WIDEST, max(NARROWEST, ROOM * ends[np.isfinite(ends)].max(initial=0.0)))
    for at, row in enumerate(rows):
        if isinstance(row, str):
            continue
        if at % 2:
            axes.axhspan(-at - 0.5, -at + 0.5, color="0.965", linewidth=0, zorder=-3)
        _dot(found, axes, (row, k), -at, (float(value[row]), float(low[row]), float(high[row])), edge)
    axes.axvline(0, color="0.3", linewidth=0.6, zorder=-1)
    axes.set(xlim=(-edge, edge), ylim=(-len(rows) + 0.5, 0.5))
    axes.locator_params(axis="x", nbins=5, symmetric=True)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    first, second = found.pairs[k]
    between = ", " if len(found.pairs) == 1 else "\n"
    axes.set_xlabel(f"{first} - {second}{between}over their mean size", fontsize=7)
    axes.set_yticks([-at for at in range(len(rows))] if named else [])
    if named:
        axes.set_yticklabels([_name(found, row) for row in rows], fontsize=TEXT)
        for row, text in zip(rows, axes.get_yticklabels(), strict=True):
            text.set_fontweight("bold" if isinstance(row, str) else "normal")
            invariant = not isinstance(row, str) and found.scaling[row] == INVARIANT
            text.set_fontstyle("italic" if invariant else "normal")
    _ratios(axes, edge, f"{first} / {second}")


def _ratios(axes: Axes, edge: float, name: str) -> None:
    """Names of ratios r along the top, at 2 (r - 1) / (r + 1), as far apart as their text needs."""
    shown = [1.0]
    for ratio in RATIOS:
        place, last = (2 * (one - 1) / (one + 1) for one in (ratio, shown[-1]))
        if place <= edge and place - last >= APART * edge:
            shown.append(ratio)
    ratios = [*(1 / ratio for ratio in shown[:0:-1]), *shown]
    places = [2 * (ratio - 1) / (ratio + 1) for ratio in ratios]
    top = axes.secondary_xaxis("top")
    top.set_xticks(places, [f"{ratio:.2g}" if ratio < 1 else f"{ratio:g}" for ratio in ratios], fontsize=TEXT)
    top.set_xlabel(name, fontsize=7)
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


def _name(found: Comparison, row: int | str) -> str:
    if isinstance(row, str):
        return row
    name = MEASURES.get(found.measures[row], found.titles[row])
    for long, short in SHORTER.items():
        name = name.replace(long, short)
    return name


def _values(found: Comparison, axes: Axes, rows: Sequence[int | str]) -> None:
    """The values of both labels and the unit, in columns."""
    axes.set_axis_off()
    axes.set(xlim=(0, 1), ylim=(-len(rows) + 0.5, 0.5))
    labels = (
        label if len(label) <= LETTERS else f"{label[: LETTERS - 1]}\N{HORIZONTAL ELLIPSIS}" for label in found.labels
    )
    for place, head in zip(COLUMNS, (*labels, "unit"), strict=True):
        axes.annotate(head, (place, 0.5), (0, 3), textcoords="offset points", fontsize=TEXT)
    for at, row in enumerate(rows):
        if isinstance(row, int):
            unit = "" if found.units[row] == "1" else found.units[row].replace("^2", "\N{SUPERSCRIPT TWO}")
            for place, cell in zip(COLUMNS, (*map(_number, found.value[row]), unit), strict=True):
                axes.text(place, -at, cell, fontsize=TEXT - 0.5, va="center")


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{float(f'{value:.3g}'):g}"


def _relations(found: Comparison, axes: Axes) -> None:
    """Rows of text: what is measured of each pair, with its interval, under the panel of the pair."""
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.set(xlim=(0, 1), ylim=(-len(found.relations) - 0.5, 0.5), xticks=[])
    named = [
        title if unit == "1" else f"{title} ({unit})"
        for title, unit in zip(found.relation_titles, found.relation_units, strict=True)
    ]
    axes.set_yticks([-at for at in range(len(named) + 1)], ["of the pair", *named], fontsize=TEXT)
    axes.get_yticklabels()[0].set_fontweight("bold")
    axes.tick_params(axis="y", length=0)
    for k, pair in enumerate(found.pairs):
        ends = zip(found.relation_value[:, k], found.relation_low[:, k], found.relation_high[:, k], strict=True)
        cells = [
            _number(value) + (f" [{_number(low)}, {_number(high)}]" if math.isfinite(low + high) else "")
            for value, low, high in ends
        ]
        for at, cell in enumerate([", ".join(pair) if len(found.pairs) > 1 else "", *cells]):
            place = (k + 0.5) / len(found.pairs)
            axes.text(place, -at, cell, fontsize=TEXT - 0.5, va="center", ha="center")


def _legend(found: Comparison, axes: Axes) -> None:
    """What colours and italics mean, and what bars are over."""
    handles = []
    for index, label in enumerate(found.labels):
        higher = (found.verdict == FIRST) & (found.first == index) | (found.verdict == SECOND) & (found.second == index)
        if higher.any():
            handles.append(Line2D([], [], linewidth=1.1, label=f"{label} higher", markersize=3.6, **look(index)))
    hollow = {"marker": "o", "markerfacecolor": "white", "markersize": 3.6, "linewidth": 1.1}
    handles.append(Line2D([], [], color=GREY, label="not resolved", **hollow))
    over = [kind for kind in dict.fromkeys(found.over) if kind != NONE]
    notes = [f"bars: {found.level:.0%}".replace("%", " %") + f" over {', '.join(over)}"] if over else []
    notes += [r"$\it{italic}$: rescaling does not move it"] if INVARIANT in found.scaling else []
    figure = axes.get_figure(root=True)
    assert figure is not None
    title = "; ".join(notes) or None
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), title=title, title_fontsize=TEXT)
