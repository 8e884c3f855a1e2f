"""Sharpness at many checkpoints: against the batch size, after warm starts, and against the loss along training."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from ..results import SharpnessSeries, Tracked
from ..results.base import Array
from ..results.series import DIVERGED, NON_FINITE, NOT_CONVERGED, NOT_RESOLVED
from .sharpness import log_scale, loss_label, measure_label
from .style import look

BAND = 0.18  # opacity
AXIS = {"batch-size": "batch size", "epoch": "epochs", "warm-epochs": "epochs before the warm start"}
NOTES = {
    NON_FINITE: "not finite",
    NOT_CONVERGED: "not converged",
    NOT_RESOLVED: "not resolved",
    DIVERGED: "diverged",
}
TRACKED = {
    "sharpness": "Keskar's sharpness, $\\epsilon$ = 0.001\n(percent of 1 + loss)",
    "adaptive": "adaptive SAM sharpness, $\\rho$ = 0.5\n(loss)",
}  # columns of a tracked sharpness


def draw_series(series: Mapping[str, SharpnessSeries], accuracy: Axes, sharpness: Axes) -> None:
    """Test accuracy and the measure over the batch size (log 2) or the epochs before warm starts, a line for each.

    Points are means over seeds, bands reach from the least to the largest, bars are standard errors. What was not
    measured has no point; the legend counts it. Dashed: the accuracy where warm starts began.
    """
    for index, (label, found) in enumerate(series.items()):
        _band(accuracy, found.over(found.test_accuracy * 100), label, index)
        _band(sharpness, found.over(found.value), _noted(label, found), index, found.over(found.stderr))
        if found.start_accuracy is not None:
            begun = {place: values * 100 for place, values in found.over(found.start_accuracy).items() if place > 0}
            means = [float(np.nanmean(values)) if np.isfinite(values).any() else np.nan for values in begun.values()]
            accuracy.plot(list(begun), means, linestyle="--", linewidth=0.9, color=look(index)["color"])
    first = next(iter(series.values()))
    places = sorted({float(place) for found in series.values() for place in found.position})
    for axes in (accuracy, sharpness):
        axes.set_xlabel(AXIS[first.against])
        _log2(axes, places)
    accuracy.set_ylabel("test accuracy (%)")
    sharpness.set_ylabel(_measure(first))
    _log_if_positive(sharpness.yaxis, [found.value for found in series.values()])
    if any(found.start_accuracy is not None for found in series.values()):
        colour = look(0)["color"] if len(series) == 1 else "0.3"
        after = Line2D([], [], color=colour, label="after the run")
        begin = Line2D([], [], color=colour, linestyle="--", linewidth=0.9, label="where it began")
        accuracy.legend(handles=[after, begin])
    if len(series) > 1 or any((found.run_status != 1).any() for found in series.values()):
        sharpness.legend()


def draw_series_along(series: Mapping[str, SharpnessSeries], axes: Axes) -> None:
    """The measure over the loss along each run, both logarithmic; bars are standard errors where there are any."""
    curves = {_noted(label, found): (found.loss, found.value, found.stderr) for label, found in series.items()}
    first = next(iter(series.values()))
    _along(curves, axes, loss_label(first.settings))
    axes.set_ylabel(_measure(first))


def draw_tracked_along(runs: Mapping[str, Tracked], sharpness: Axes, adaptive: Axes) -> None:
    """A tracked sharpness over the train loss along each run, and the invariant measure beside it."""
    for axes, column in ((sharpness, "sharpness"), (adaptive, "adaptive")):
        curves = {label: (run.column("loss"), run.column(column), None) for label, run in runs.items()}
        _along(curves, axes, "train loss")
        axes.set_ylabel(TRACKED[column])


def _along(curves: Mapping[str, tuple[Array, Array, Array | None]], axes: Axes, loss_name: str) -> None:
    """Curves of (loss, measure) in the order of training: the first point open, the last large."""
    for index, (label, (loss, value, error)) in enumerate(curves.items()):
        kept = np.isfinite(loss) & np.isfinite(value)
        style = look(index)
        axes.plot(loss[kept], value[kept], label=label, linewidth=0.8, markersize=2.2, **style)
        if error is not None:
            _bars(axes, loss[kept], value[kept], error[kept], style["color"])
        if kept.any():
            first, last = np.flatnonzero(kept)[[0, -1]]
            axes.plot(loss[first], value[first], markersize=5, markerfacecolor="white", zorder=3, **style)
            axes.plot(loss[last], value[last], markersize=5, zorder=3, **style)
    _log_if_positive(axes.yaxis, [value for _, value, _ in curves.values()])
    _log_if_positive(axes.xaxis, [loss for loss, _, _ in curves.values()])
    axes.set_xlabel(f"{loss_name} (open: first, filled: last)")
    axes.legend()


def _band(
    axes: Axes, by_place: Mapping[float, Array], label: str, index: int, errors: Mapping[float, Array] | None = None
) -> None:
    """Means by place, a band over seeds, and the standard errors of the means, where there are any, as bars."""
    kept = {place: values[np.isfinite(values)] for place, values in by_place.items()}
    places = [place for place, values in kept.items() if values.size]
    means = [float(kept[place].mean()) for place in places]
    axes.plot(places or [np.nan], means or [np.nan], label=label, **look(index))
    if any(kept[place].size > 1 for place in places):
        low, high = ([float(f(kept[place])) for place in places] for f in (np.min, np.max))
        axes.fill_between(places, low, high, color=look(index)["color"], alpha=BAND, linewidth=0)
    if errors is not None and places:
        of_seeds = [errors[place][np.isfinite(by_place[place])] for place in places]
        of_means = np.array([np.sqrt(np.square(e).sum()) / e.size for e in of_seeds])
        _bars(axes, np.array(places), np.array(means), of_means, look(index)["color"])


def _bars(axes: Axes, places: Array, values: Array, errors: Array, colour: str) -> None:
    known = np.isfinite(errors) & (errors > 0)
    if known.any():
        axes.errorbar(
            places[known], values[known], errors[known], linestyle="none", color=colour, elinewidth=0.8, capsize=1.5
        )


def _log2(axes: Axes, places: list[float]) -> None:
    """A scale of powers of two, with zero where there is one; a tick for each place, or for some of many."""
    above = [place for place in places if place > 0]
    if not above:
        return
    if places[0] > 0:
        axes.set_xscale("log", base=2)
    else:
        axes.set_xscale("symlog", base=2, linthresh=min(above), linscale=1)
    shown = places[:: max(1, -(-len(places) // 9))]
    axes.set_xticks(shown, [f"{place:g}" for place in shown], rotation=45 if len(shown) > 5 else 0)
    axes.xaxis.set_minor_locator(NullLocator())


def _log_if_positive(axis: Axis, values: list[Array]) -> None:
    log_scale(axis, np.concatenate([value[np.isfinite(value)] for value in values]))


def _noted(label: str, found: SharpnessSeries) -> str:
    """The label of a line, and how many of its rows have no point."""
    notes = [f"{count} {word}" for state, word in NOTES.items() if (count := int((found.run_status == state).sum()))]
    return f"{label} ({', '.join(notes)})" if notes else label


def _measure(found: SharpnessSeries) -> str:
    return measure_label(found.measure, found.unit("value"), found.options, found.settings, radius=True)
