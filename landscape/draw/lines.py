"""Several lines of one label side by side: policies of batch norm, raw and permuted ends, curves, directions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from ..results import NON_FINITE, Line
from ..results.base import Array
from .names import alpha_label, between, line_names
from .slices import band, valued, wide
from .style import legend_below, look

MARKS = 8  # markers on a line
ALIKE = 0.01  # relative difference of two units of length that are drawn as one


def draw_lines(lines: Sequence[Line], loss: Axes, accuracy: Axes | None = None) -> None:
    """Loss on one axes and accuracy on the other, a colour and a marker each; the legend names what differs.

    Points without a finite loss are gaps, with a cross at the top edge. Along directions of different length the axis
    is the distance from the centre.
    """
    by_distance = _by_distance(lines)
    missing = [bool((line.point_status == NON_FINITE).any()) for line in lines]
    for index, (line, name) in enumerate(zip(lines, line_names(lines), strict=True)):
        at = line.alpha * line.unit_length if by_distance else line.alpha
        values = valued(line.loss, line.point_status)
        _draw(at, values, loss, index, len(lines), name)
        band(at, values, line.loss_stderr, loss, look(index)["color"], 0.15)
        if accuracy is not None and line.accuracy is not None:
            _draw(at, valued(line.accuracy * 100, line.point_status), accuracy, index, len(lines))
        for axes in (loss, accuracy):
            if axes is not None:
                _mark_missing(at[line.point_status == NON_FINITE], axes, index, missing[:index].count(True))
    if wide([valued(line.loss, line.point_status) for line in lines]):
        loss.set_yscale("log")
    splits = {line.split for line in lines}
    of = f", {splits.pop()}" if len(splits) == 1 else ""
    loss.set(xlabel=_label(lines, by_distance), ylabel=f"loss{of}")
    panels = [loss]
    if accuracy is not None:
        accuracy.set(xlabel=_label(lines, by_distance), ylabel=f"accuracy{of} (%)")
        panels.append(accuracy)
    if all(between(line) for line in lines):
        for panel in panels:
            for position in (0.0, 1.0):
                panel.axvline(position, color="0.5", linewidth=0.7, linestyle=":", zorder=0)
    if any(missing):
        loss.plot([], [], "x", color="0.4", markersize=3, markeredgewidth=0.9, label="not finite")
    handles, labels = loss.get_legend_handles_labels()
    legend_below(loss, handles, labels)


def _draw(at: Array, values: Array, axes: Axes, index: int, count: int, label: str | None = None) -> None:
    step = max(1, len(at) // MARKS)
    # Shifted from line to line, so that the markers of lines that coincide are all seen.
    start = min(index * step // count, max(0, len(at) - 1))
    axes.plot(at, values, label=label, markevery=(start, step), markersize=3.5, **look(index))


def _mark_missing(at: Array, axes: Axes, index: int, rank: int) -> None:
    """Crosses above the upper edge, those of each line that has some a little higher than those of the last."""
    if len(at):
        height = np.full(len(at), 1.02 + 0.04 * rank)
        axes.plot(
            at, height, "x", color=look(index)["color"], markersize=3, markeredgewidth=0.9,
            transform=axes.get_xaxis_transform(), clip_on=False,
        )  # fmt: skip


def _by_distance(lines: Sequence[Line]) -> bool:
    """Whether the lines follow directions of known, different lengths, so that one alpha is not one distance."""
    lengths = np.array([line.unit_length for line in lines])
    if any(between(line) for line in lines) or not np.isfinite(lengths).all():
        return False
    return bool(lengths.max() - lengths.min() > ALIKE * lengths.max())


def _label(lines: Sequence[Line], by_distance: bool) -> str:
    if by_distance:
        return "distance from the centre"
    labels = {alpha_label(line) for line in lines}
    if len(labels) == 1:
        return labels.pop()
    ends = {between(line) for line in lines}
    pair = ends.pop() if len(ends) == 1 else None
    return r"$\alpha$" if pair is None else rf"$\alpha$ from {pair[0]} to {pair[1]}"
