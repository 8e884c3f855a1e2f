"""Batch sizes: throughput, efficiency and time to one loss, a line for each result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from ..results import BatchSizes
from ..results.base import Array
from .style import legend_below, look

BAND = 0.18  # opacity
TICKS = 8  # labelled batch sizes at most
MARK = 6.5  # points, of a marked size
BEYOND = 4.0  # times the largest size, up to which the axis goes for the noise scale


def draw_batch_sizes(found: Mapping[str, BatchSizes], axes: Sequence[Axes]) -> None:
    """Three axes over the batch size (log 2): samples a second, efficiency, time to one loss over the shortest.

    Throughput is a median with a band between quartiles, its knee marked. Efficiency and time are predictions from
    the noise scale b: a dashed line at b, a band over its interval; the largest size that loses less than a tenth and
    the fastest one are marked. Where b is not known of any result both stay empty and say so.
    """
    throughput, efficiency, time = axes
    alone = len(found) == 1
    for index, (label, result) in enumerate(found.items()):
        style, size = look(index), result.batch_size
        throughput.plot(size, result.samples_per_second, label=label, **style)
        low, high = result.samples_per_second_low, result.samples_per_second_high
        throughput.fill_between(size, low, high, color=style["color"], alpha=BAND, linewidth=0)
        _mark(throughput, result, result.knee, result.samples_per_second, index)
        for axis, values, best in (
            (efficiency, result.efficiency * 100, result.efficient),
            (time, result.seconds, result.fastest),
        ):
            axis.plot(size, values, **style)
            _mark(axis, result, best, values, index)
            _noise(axis, result, index)
    efficiency.axhline(90, color="0.6", linestyle=":", linewidth=0.8, zorder=0)
    throughput.set(ylabel="samples a second", yscale="log")
    efficiency.set(ylabel="efficiency (%)", ylim=(0, 105))
    time.set_ylabel("time to one loss\n(over the shortest)")
    if any(np.isfinite(result.seconds).any() for result in found.values()):
        time.set_yscale("log")
    for axis in axes:
        _log2(axis, list(found.values()))
        _decades(axis)
    if alone:
        _say(axes, *found.values())
    else:
        legend_below(throughput, *throughput.get_legend_handles_labels())
    if all(result.critical is None for result in found.values()):
        for axis in (efficiency, time):
            text = "noise scale not known"
            axis.text(0.5, 0.5, text, transform=axis.transAxes, ha="center", fontsize=7, color="0.4")


def _say(axes: Sequence[Axes], result: BatchSizes) -> None:
    """What is marked, as titles, and the noise scale beside its line: for a single result."""
    throughput, efficiency, time = axes
    throughput.set_title(f"knee: $B$ = {result.knee}", fontsize=7)
    if result.efficient is not None:
        efficiency.set_title(f"above 90 %: $B$ = {result.efficient}", fontsize=7)
    if result.fastest is not None:
        both = ", cheapest" if result.cheapest == result.fastest else ""
        time.set_title(f"fastest{both}: $B$ = {result.fastest}", fontsize=7)
    if result.critical is None:
        return
    low, high = efficiency.get_xlim()
    left = result.critical**2 < low * high  # of the middle: then the curve is below on the line's right, else above
    at = (min(result.critical, high), 103 if left else 4)
    efficiency.annotate(
        _scale(result),
        at,
        xytext=(3 if left else -3, 0),
        textcoords="offset points",
        fontsize=7,
        ha="left" if left else "right",
        va="top" if left else "bottom",
    )


def _mark(axes: Axes, result: BatchSizes, size: int | None, values: Array, index: int) -> None:
    """A large marker on the curve at one of its sizes."""
    if size is not None:
        at = int(np.flatnonzero(result.batch_size == size)[0])
        style = look(index)
        axes.plot(size, values[at], markersize=MARK, markeredgecolor="black", markeredgewidth=0.8, zorder=4, **style)


def _noise(axes: Axes, result: BatchSizes, index: int) -> None:
    """The noise scale as a line, its interval as a band, open where it has no upper end."""
    if result.critical is None:
        return
    colour = look(index)["color"]
    axes.axvline(result.critical, color=colour, linestyle="--", linewidth=0.8, zorder=1)
    if result.critical_low is not None and result.critical_low > 0:
        end = result.critical_high or BEYOND**2 * float(result.batch_size[-1])
        axes.axvspan(result.critical_low, max(end, result.critical), color=colour, alpha=BAND, linewidth=0, zorder=0)


def _scale(result: BatchSizes) -> str:
    if result.critical is None:
        return "$b$ not known"
    relation = "=" if result.status == "complete" else r"\geq"
    return f"$b {relation} {float(f'{result.critical:.3g}'):g}$"


def _log2(axes: Axes, found: Sequence[BatchSizes]) -> None:
    """Powers of two, so many labelled as fit; a last size that is none of them goes without a label."""
    sizes = np.unique(np.concatenate([result.batch_size for result in found]))
    powers = [int(size) for size in sizes if int(size) & (int(size) - 1) == 0]
    shown = powers[:: max(1, -(-len(powers) // TICKS))]
    axes.set_xscale("log", base=2)
    axes.set_xticks(shown, [str(size) for size in shown], rotation=45 if len(shown) > 4 else 0)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("batch size $B$")
    # the noise scale is seen where it is not far beyond the sizes
    scales = [min(result.critical or 0.0, BEYOND * float(sizes[-1])) for result in found]
    axes.set_xlim(float(sizes[0]) / 1.6, 1.6 * max(float(sizes[-1]), *scales))


def _decades(axes: Axes) -> None:
    if axes.get_yscale() == "log":
        low, high = axes.get_ylim()
        if high < 50 * low:  # else decades alone say enough
            axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
