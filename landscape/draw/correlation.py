"""Measures against generalisation: a scatter plot for each measure, a point for each run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from ..results import Array, Correlation
from ..results.correlation import GAP, TARGETS, TEST_ACCURACY
from .sharpness import LONG, log_scale
from .style import LOSS_MAP, MARKERS

COLUMNS = 3
TARGET = {GAP: "gap (%)", TEST_ACCURACY: "test accuracy (%)"}
DARKEST, LIGHTEST = 0.0, 0.88  # of the colour map: its end is too light on white
SQUEEZED = 3  # times the median error, of the worst run
TICKS = (20, 40, 60, 80, 90, 95, 98, 99, 100)
MARGIN = 0.07  # of the range of a target, above and below it
ENTRIES = 8  # batch sizes in the legend at most


def grid_of(found: Correlation) -> tuple[int, int]:
    """Rows and columns of panels."""
    columns = min(COLUMNS, len(found.measures))
    return math.ceil(len(found.measures) / columns), columns


def draw_correlation(found: Correlation, target: str, panels: Sequence[Axes]) -> None:
    """The gap or the test accuracy of each run over each measure, tau with its interval above.

    Colours follow the batch size (log), markers another hyper-parameter, where one has few enough values. `panels` are
    the cells of the grid `grid_of(found)`, row by row; those that are left over are hidden. Runs without a value have
    no point.
    """
    t, heights = TARGETS.index(target), 100 * found.target(target)
    colours, marked = _colours(found), _marked(found)
    kinds = [0] * len(heights) if marked is None else _codes(found.hyperparameters[marked])
    columns = grid_of(found)[1]
    for m, panel in enumerate(panels):
        if m >= len(found.measures):
            panel.set_axis_off()
            continue
        values = found.value[m]
        shown = np.isfinite(values) & np.isfinite(heights)
        for kind in sorted(set(kinds)):
            here = shown & (np.array(kinds) == kind)
            look: dict[str, Any] = {"marker": MARKERS[kind % len(MARKERS)], "s": 13, "linewidths": 0.3}
            panel.scatter(values[here], heights[here], c=colours[here], edgecolors="white", **look)
        _scale(panel, values[shown], shares=found.units[m] == "1")
        panel.yaxis.set_major_locator(MaxNLocator(4))
        panel.set_xlabel(_name(found, m), fontsize=7)
        panel.set_title(_tau(found, m, t), fontsize=7, linespacing=1.1)
        panel.tick_params(labelleft=m % columns == 0)
    drawn = panels[: len(found.measures)]
    _heights(drawn, heights[np.isfinite(heights)], of_accuracy=target == TEST_ACCURACY)
    for panel in drawn[::columns]:
        panel.set_ylabel(TARGET[target])
    handles = [*_sizes(found), *_markers(found, marked)]
    if handles:
        drawn[0].figure.legend(handles=handles, loc="outside lower center", ncols=min(4, len(handles)))


def _heights(drawn: Sequence[Axes], known: Array, *, of_accuracy: bool) -> None:
    """The same range everywhere; accuracies by their errors' logarithm where few bad runs would squeeze the rest."""
    if not known.size:
        return
    below, above = (lambda value: -np.log(np.maximum(101 - value, 1e-9))), (lambda value: 101 - np.exp(-value))
    bent = of_accuracy and 100 - known.min() > SQUEEZED * (100 - np.median(known))
    low, high = (below(known.min()), below(known.max())) if bent else (known.min(), known.max())
    pad = MARGIN * ((high - low) or 1.0)
    ends = (low - pad, high + pad)
    for panel in drawn:
        if bent:
            panel.set_yscale("function", functions=(below, above))
            ticks = [tick for tick in TICKS if known.min() <= tick <= known.max()]
            panel.set_yticks(ticks, minor=False)
        panel.set_ylim(*((above(end) for end in ends) if bent else ends))


def _scale(panel: Axes, values: Array, *, shares: bool) -> None:
    """Logarithmic where all values are positive and no shares, with few and short numbers at its ticks."""
    panel.xaxis.set_major_locator(MaxNLocator(3))
    if shares:
        return
    log_scale(panel.xaxis, values)
    if values.size and values.min() > 0 and values.max() < LONG * values.min():
        panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))


def _name(found: Correlation, measure: int) -> str:
    unit = found.units[measure]
    return found.measures[measure] + ("" if unit == "1" else f"\n({unit})")


def _tau(found: Correlation, measure: int, target: int) -> str:
    tau, low, high = (getattr(found, name)[measure, target] for name in ("tau", "low", "high"))
    if math.isnan(tau):
        return "no correlation"
    interval = f" [{low:.2f}, {high:.2f}]" if math.isfinite(low) else ", not resolved"
    return rf"$\tau$ = {tau:.2f}{interval}".replace("-", "\u2212")


def _colours(found: Correlation) -> Array:
    """RGBA (runs, 4): by the logarithm of the batch size, grey where it is not known."""
    known = found.batch_size > 0
    colours = np.tile((0.5, 0.5, 0.5, 1.0), (len(known), 1))
    if known.any():
        height = np.log(found.batch_size[known].astype(float))
        share = (height - height.min()) / (np.ptp(height) or 1.0)
        colours[known] = colormaps[LOSS_MAP](DARKEST + (LIGHTEST - DARKEST) * share)
    return colours


def _sizes(found: Correlation) -> list[Line2D]:
    """Entries of the legend for batch sizes, both ends among them; none where all are alike."""
    sizes, first = np.unique(found.batch_size, return_index=True)
    if len(sizes) < 2:
        return []
    places = np.unique(np.linspace(0, len(sizes) - 1, min(ENTRIES, len(sizes))).round().astype(int))
    colours = _colours(found)
    return [
        Line2D([], [], linestyle="none", marker="o", color=tuple(colours[first[i]]),
               label=f"batch size {sizes[i]}" if sizes[i] else "batch size not known")
        for i in places
    ]  # fmt: skip


def _marked(found: Correlation) -> str | None:
    """The hyper-parameter that markers tell apart: the first but the batch size with as few values as markers."""
    for name, column in found.hyperparameters.items():
        if "batch_size" not in name.split(" & ") and len(set(column)) <= len(MARKERS):
            return name
    return None


def _markers(found: Correlation, name: str | None) -> list[Line2D]:
    if name is None:
        return []
    column = found.hyperparameters[name]
    values = dict(zip(_codes(column), column, strict=True))
    return [
        Line2D([], [], linestyle="none", color="0.4", marker=MARKERS[code],
               label=f"{name} {'not known' if value is None else value}")
        for code, value in sorted(values.items())
    ]  # fmt: skip


def _codes(column: Sequence[Any]) -> list[int]:
    order = {value: index for index, value in enumerate(dict.fromkeys(column))}
    return [order[value] for value in column]
