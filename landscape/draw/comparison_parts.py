"""What stands above and below the panels of a comparison: the legend, the table of the pairs, the slices."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from ..results.base import Array
from ..results.comparison import FIRST, SECOND, Comparison
from .comparison_words import ALL, EDGE, LEGEND, SMALL, SPACE, TEXT, Plan, in_columns, notes, of_the_pair
from .slices import wide
from .style import look

GREY = "0.55"
HOLLOW: dict[str, Any] = {"markerfacecolor": "white"}
LINE, NOTE = 11.5, 8.5  # points, of a line of text, and of one at the head
UNDER = 42.0  # points, from a slice's axis down to its legend
SLICE = 95.0  # points, of a slice without its labels
ENTRIES: dict[str, Any] = {"handlelength": 2.0, "handletextpad": 0.5, "columnspacing": 1.2}  # of all legends


def handles_of(found: Comparison, plan: Plan) -> list[Line2D]:
    """What colours mean: the labels that are higher somewhere, and what is not resolved."""
    if not found.measures:
        return []
    handles = []
    for index, label in enumerate(plan.labels):
        higher = (found.verdict == FIRST) & (found.first == index) | (found.verdict == SECOND) & (found.second == index)
        if higher.any():
            handles.append(Line2D([], [], linewidth=1.1, label=f"{label} higher", markersize=3.6, **look(index)))
    unresolved = Line2D([], [], color=GREY, label="not resolved", marker="o", markersize=3.6, linewidth=1.1, **HOLLOW)
    return [*handles, unresolved]


def head_height(found: Comparison, plan: Plan) -> float:
    """Points that the legend takes."""
    names = [str(handle.get_label()) for handle in handles_of(found, plan)]
    rows = -(-len(names) // in_columns(names, ALL)) if names else 0
    return LINE * rows + NOTE * len(notes(found, plan.key)) + EDGE


def draw_legend(found: Comparison, plan: Plan, axes: Axes) -> None:
    """At the head of the page: what tags, colours and italics mean, and what bars are over."""
    handles, lines = handles_of(found, plan), notes(found, plan.key)
    if not handles and not lines:
        return
    figure = axes.get_figure(root=True)
    assert figure is not None
    columns = in_columns([str(handle.get_label()) for handle in handles], ALL) if handles else 1
    legend = figure.legend(handles=handles, loc="outside upper center", ncols=columns, fontsize=LEGEND, borderpad=0.2,
                           title="\n".join(lines) or None, title_fontsize=TEXT, **ENTRIES)  # fmt: skip
    legend.get_title().set_multialignment("center")


def table_lines(found: Comparison, plan: Plan) -> int:
    """Lines of the table of the pairs: its head, then for each row of pairs their labels and the relations."""
    blocks = -(-len(found.pairs) // plan.pairs)
    return 1 + blocks * (len(plan.relations) + (len(found.pairs) > 1))


def draw_relations(found: Comparison, plan: Plan, axes: Axes) -> None:
    """Rows of text: what is measured of each pair, with its interval."""
    axes.set_axis_off()
    axes.set(xlim=(0, ALL), ylim=(-table_lines(found, plan) + 0.5, 0.5))
    style: dict[str, Any] = {"va": "center_baseline"}
    axes.text(EDGE, 0, of_the_pair(found), weight="bold", fontsize=TEXT, **style)
    several = len(found.pairs) > 1
    column, top = (ALL - EDGE - plan.table) / plan.pairs, 1
    for start in range(0, len(found.pairs), plan.pairs):
        pairs = range(start, min(start + plan.pairs, len(found.pairs)))
        for at, name in enumerate(plan.relations, top + several):
            axes.text(plan.table - SPACE, -at, name, ha="right", fontsize=TEXT, **style)
        for k in pairs:
            heads = [plan.pair(found, k, ", ")] if several else []
            place = plan.table + (k - start + 0.5) * column if several else max(plan.left, plan.table)
            for at, cell in enumerate([*heads, *plan.cells[k]], top):
                axes.text(place, -at, cell, ha="center" if several else "left", fontsize=SMALL, **style)
        top += several + len(plan.relations)


def keys_of_slices(found: Comparison, plan: Plan) -> tuple[list[str], list[str]]:
    """The names of the curves of both kinds of slices; aligned ones share a name."""
    pairs = [plan.pair(found, k, " to ") for k in range(len(found.pairs))] if len(found.pairs) > 1 else ["as they are"]
    return list(plan.labels), [*pairs, *(["aligned"] if found.aligned_loss is not None else [])]


def draw_slices(found: Comparison, plan: Plan, axes: Axes) -> None:
    """The loss of every minimum along one random direction."""
    assert found.alpha is not None
    assert found.slice_loss is not None
    for index, loss in enumerate(found.slice_loss):
        axes.plot(found.alpha, loss, markevery=5, markersize=3, label=plan.labels[index], **look(index))
    _finished(axes, list(found.slice_loss), keys_of_slices(found, plan)[0])
    axes.set_xlabel("step along a random direction,\nin norms of the filters", fontsize=LEGEND)


def draw_between(found: Comparison, plan: Plan, axes: Axes) -> None:
    """Between the minima of each pair; dashed where the second's hidden units are permuted to fit the first's.

    Of several pairs a curve has the colour of the first and the marker of the second.
    """
    assert found.t is not None
    names, alone = keys_of_slices(found, plan)[1], len(found.pairs) == 1
    every = max(1, (len(found.t) - 1) // 4)
    for losses, dash in ((found.between_loss, "-"), (found.aligned_loss, "--")):
        for k, loss in enumerate(() if losses is None else losses):
            kind: dict[str, Any] = {"color": look(2 + (dash == "--"))["color"]}
            if not alone:
                kind = {"color": look(int(found.first[k]))["color"], "marker": look(int(found.second[k]))["marker"]}
                kind |= HOLLOW if dash == "--" else {}
            axes.plot(found.t, loss, linestyle=dash, linewidth=1.1, markersize=3, markevery=every, **kind,
                      label=names[k] if dash == "-" else "_")  # fmt: skip
    drawn = [row for losses in (found.between_loss, found.aligned_loss) if losses is not None for row in losses]
    if found.aligned_loss is not None:
        kind = {"color": look(3)["color"]} if alone else {"color": GREY, "marker": "o", "markersize": 3, **HOLLOW}
        axes.plot([], [], linestyle="--", linewidth=1.1, label="aligned", **kind)
    _finished(axes, drawn, names)
    along = plan.pair(found, 0, " to ") if alone else "the first to the second"
    axes.set_xlabel(f"from {along}", fontsize=LEGEND)


def _finished(axes: Axes, losses: list[Array], names: list[str]) -> None:
    """Logarithmic where the losses reach over some powers of ten; a legend under the axis."""
    if wide(losses):
        axes.set_yscale("log")
    axes.tick_params(labelsize=TEXT)
    axes.yaxis.get_offset_text().set_fontsize(TEXT)
    room = np.ptp(axes.get_position().get_points()[:, 0]) * ALL
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -UNDER / SLICE), ncols=in_columns(names, room, TEXT),
                fontsize=TEXT, borderpad=0, borderaxespad=0, **ENTRIES)  # fmt: skip


def legend_height(names: list[str], room: float) -> float:
    """Points of the legend under a slice so wide."""
    return LINE * -(-len(names) // in_columns(names, room, TEXT))
