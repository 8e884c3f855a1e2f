"""The trade-off of updates and samples: updates against the batch size with the law and its regimes, E against S."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from ..results import TradeOff
from ..results.base import Array
from .style import look

POINTS = 200  # of a curve
REGIMES = {1: "perfect\nscaling", 2: "diminishing\nreturns", 3: "maximal\nparallelism"}
SHADES = {1: "0.95", 2: "1.0", 3: "0.9"}
EDGE = 4.0  # B / b_crit between the regimes, as they are defined where they are found
ROOM = 1.35  # beyond the first and the last point
NARROW = 0.11  # of the width: a regime without a name
BELOW = 0.84  # of the height: where marks end, under the names of the regimes
FOOT = 0.055  # of the height: between marks at the foot


def draw_trade_off(found: TradeOff, updates: Axes, samples: Axes) -> None:
    """Updates to the loss over the batch size, and samples over updates, all logarithmic.

    Bars reach from the least to the most over seeds; a batch size that did not reach the loss has no point. Shaded: the
    regimes (Shallue et al. 2019) of the fitted law; where the critical batch size has no value, nothing is.
    """
    _over_batch_sizes(found, updates)
    _over_updates(found, samples)


def _over_batch_sizes(found: TradeOff, axes: Axes) -> None:
    size = found.batch_size
    low, high = size.min() / ROOM, size.max() * ROOM
    _regimes(found, axes, low, high)
    points = np.geomspace(low, high, POINTS)
    _points(found, axes, size, found.updates)
    if found.s_min is not None and found.e_min is not None:
        axes.plot(points, found.s_min + found.e_min / points, color="0.2", label="fitted law")
    if found.e_min is not None:
        axes.plot(points, found.e_min / points, color="0.2", linestyle="--", linewidth=0.8, label="ideal, $E_{min}/B$")
    ends = (low, high)
    _marked(axes, found.b_crit, found.b_crit_low, found.b_crit_high, 1, "$B_{crit}$", ends)
    _marked(axes, found.b_simple, found.b_simple_low, found.b_simple_high, 2, "$B_{simple}$", ends)
    reached = [found.updates_low, found.updates_high]
    # the ideal line would need room that the points do not
    bottom, top = np.nanmin(reached) / 2, np.nanmax(reached) * 2
    axes.set(xscale="log", yscale="log", xlim=(low, high), ylim=(bottom, top))
    axes.set(xlabel="batch size", ylabel=f"updates to train loss {found.target:.3g}")
    shown = size if len(size) <= 8 else size[:: -(-len(size) // 8)]
    axes.set_xticks(shown, [f"{int(number)}" for number in shown], rotation=45 if len(shown) > 5 else 0)
    axes.xaxis.set_minor_locator(NullLocator())
    _plain(axes, "y")
    # above: inside, some curve passes wherever it is put
    axes.legend(loc="lower center", bbox_to_anchor=(0.45, 1.0), ncols=2, handlelength=1.6, columnspacing=1.0)


def _over_updates(found: TradeOff, axes: Axes) -> None:
    _points(found, axes, found.updates, found.samples, named=False)
    if found.s_min is not None and found.e_min is not None:
        size = np.geomspace(found.batch_size.min() / 8, found.batch_size.max() * 8, POINTS)
        axes.plot(found.s_min + found.e_min / size, found.e_min + found.s_min * size, color="0.2", zorder=1)
    dotted = {"color": "0.2", "linestyle": ":", "linewidth": 0.8}
    if found.s_min is not None:
        axes.axvline(found.s_min, **dotted)
        axes.text(found.s_min, 0.02, " $S_{min}$", transform=axes.get_xaxis_transform(), fontsize=7, va="bottom")
    if found.e_min is not None:
        axes.axhline(found.e_min, **dotted)
        axes.text(0.6, found.e_min, "$E_{min}$", transform=axes.get_yaxis_transform(), fontsize=7, va="top")
    for size, x, y in zip(found.batch_size, found.updates, found.samples, strict=True):
        if np.isfinite(x):
            axes.annotate(f"{int(size)}", (x, y), (4, 2), textcoords="offset points", fontsize=6, color="0.3")
    known = [value for value in (found.s_min, *found.updates) if value is not None and np.isfinite(value)]
    spent = [value for value in (found.e_min, *found.samples) if value is not None and np.isfinite(value)]
    axes.set(xscale="log", yscale="log", xlabel="updates $S$", ylabel="samples $E$")
    axes.set(xlim=(min(known) / ROOM, max(known) * 1.6), ylim=(min(spent) / 1.6, max(spent) * 1.6))
    _plain(axes, "x")


def _points(found: TradeOff, axes: Axes, x: Array, y: Array, *, named: bool = True) -> None:
    bars = None
    if named and (found.num_seeds > 1).any():
        bars = np.array([found.updates - found.updates_low, found.updates_high - found.updates])
    label = "best rate" + (", all seeds" if bars is not None else "")
    missing = int((found.num_seeds == 0).sum())
    label += f", {missing} not there" if missing else ""
    axes.errorbar(
        x, y, yerr=bars, linestyle="none", elinewidth=0.8, capsize=1.5, zorder=3, label=label if named else None,
        **look(0),
    )  # fmt: skip


def _regimes(found: TradeOff, axes: Axes, low: float, high: float) -> None:
    """Shades of the regimes, and their names where there is room."""
    if found.b_crit is None:
        return
    edges = [0.0, found.b_crit / EDGE, found.b_crit * EDGE, np.inf]
    for regime, (left, right) in enumerate(zip(edges, edges[1:], strict=False), start=1):
        left, right = max(left, low), min(right, high)
        if left < right:
            axes.axvspan(left, right, color=SHADES[regime], linewidth=0, zorder=0)
        if right / left > (high / low) ** NARROW:
            # the outer names keep to the edges of the axes, which a narrow regime would have them cross
            at, side = {1: (left * 1.05, "left"), 3: (right / 1.05, "right")}.get(
                regime, (float(np.sqrt(left * right)), "center")
            )
            place = axes.get_xaxis_transform()
            axes.text(at, 0.985, REGIMES[regime], transform=place, fontsize=6, color="0.35", ha=side, va="top")


def _marked(
    axes: Axes, value: float | None, low: float | None, high: float | None, index: int, name: str, ends: Sequence[float]
) -> None:
    """A batch size and its range near the foot of the axes; what has no end goes on to the edge."""
    if value is None:
        return
    place, height = axes.get_xaxis_transform(), FOOT * (1 + index)
    style = look(index)
    text = f"{name} {_short(value)}"
    if low is not None and high is not None:
        text += f" [{_short(low)}, {_short(high)}]"
    between = [max(ends[0], low or 0.0), min(ends[1], np.inf if high is None else high)]
    axes.plot(between, [height, height], transform=place, color=style["color"], linewidth=2.5, alpha=0.4)
    if index == 1:  # the other, which should lie near it, would hide it
        axes.plot([value, value], [height, BELOW], transform=place, color=style["color"], linewidth=0.8, linestyle=":")
    axes.plot(value, height, transform=place, linestyle="none", label=text, **style)


def _plain(axes: Axes, which: str) -> None:
    """Ticks at 1, 2 and 5 of each decade, as plain numbers."""
    axis = axes.yaxis if which == "y" else axes.xaxis
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
    axis.set_minor_locator(NullLocator())


def _short(value: float) -> str:
    """Three digits, without an exponent."""
    return f"{float(f'{value:.3g}'):g}"
