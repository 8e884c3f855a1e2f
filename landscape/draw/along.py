"""What was noted along a run: measures tracked over epochs, and each of its updates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.markers import CARETUP

from ..results import Tracked, Updates
from .style import COLOURS, look

NAMES = {
    "eigen": "largest eigenvalue of the Hessian",
    "sharpness": "Keskar's sharpness\n(percent of 1 + loss)",
    "noise": "simple noise scale (samples)",
}  # of tracked measures, for the label of an axis
UNBOUNDED = "lower end alone"  # of an interval
SMOOTH = 100  # points that a curve of all updates is averaged into


def draw_tracked(runs: Mapping[str, Tracked], axes: Axes) -> None:
    """The first column of a measure over epochs, a line for each run."""
    measures = {run.measure for run in runs.values()}
    for index, (label, run) in enumerate(runs.items()):
        axes.plot(run.epoch, run.values[:, 0], label=label, markevery=max(1, len(run.epoch) // 12), **look(index))
        if run.measure == "noise":
            _interval(run, axes, look(index)["color"])
    axes.set(xlabel="epochs", ylabel=" / ".join(NAMES.get(measure, measure) for measure in sorted(measures)))
    positive = [run.values[:, 0] for run in runs.values()]
    if all((values[np.isfinite(values)] > 0).all() for values in positive):
        axes.set_yscale("log")
    axes.legend()


def draw_tracked_noise(runs: Mapping[str, Tracked], scale: Axes, moments: Axes) -> None:
    """The noise scale over epochs with its intervals, and beside it what it is the ratio of, all logarithmic.

    An estimate of |G|^2 that is not positive has no point, nor has the scale that would follow from it.
    """
    draw_tracked(runs, scale)
    above: dict[str, Any] = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0), "columnspacing": 1.0}
    scale.legend(ncols=2, **above)
    for index, run in enumerate(runs.values()):
        colour = look(index)["color"]
        for column, dash in (("trace_covariance", "-"), ("gradient_norm_squared", "--")):
            values = run.column(column)
            moments.plot(run.epoch, np.where(values > 0, values, np.nan), color=colour, linestyle=dash)
    moments.set(xlabel="epochs", ylabel="loss$^2$ / param$^2$", yscale="log")
    dashes: dict[str, Any] = {r"tr $\Sigma$ of a sample": "-", "$|G|^2$ of the mean": "--"}
    handles = [Line2D([], [], color="0.3", linestyle=dash, label=name) for name, dash in dashes.items()]
    moments.legend(handles=handles, ncols=2, handlelength=1.6, **above)


def _interval(run: Tracked, axes: Axes, colour: str) -> None:
    """The interval of a noise scale as a band; a caret at the lower end where there is no upper one."""
    low, high = run.column("b_simple_low"), run.column("b_simple_high")
    axes.fill_between(run.epoch, low, high, color=colour, alpha=0.15, linewidth=0)
    unbounded = np.isfinite(low) & ~np.isfinite(high)
    named = UNBOUNDED if unbounded.any() and UNBOUNDED not in axes.get_legend_handles_labels()[1] else None
    style = {"linestyle": "none", "marker": CARETUP, "markersize": 4, "color": colour, "label": named}
    axes.plot(run.epoch[unbounded], low[unbounded], **style)


def draw_updates(runs: Mapping[str, Updates], loss: Axes, norm: Axes) -> None:
    """Loss and gradient norm of the batches over updates: means over stretches of the run, their range shaded."""
    for index, (label, run) in enumerate(runs.items()):
        colour = COLOURS[index % len(COLOURS)]
        for axes, values in ((loss, run.loss), (norm, run.gradient_norm)):
            edges = np.unique(np.geomspace(1, len(values) + 1, SMOOTH).astype(int)) - 1
            parts = [values[start:end] for start, end in zip(edges, edges[1:], strict=False) if end > start]
            middle = [float(np.sqrt((start + 1) * end)) for start, end in zip(edges, edges[1:], strict=False)]
            axes.plot(middle, [part.mean() for part in parts], color=colour, label=label)
            low, high = ([float(f(part)) for part in parts] for f in (np.min, np.max))
            axes.fill_between(middle, low, high, color=colour, alpha=0.15, linewidth=0)
    loss.set(xscale="log", yscale="log", xlabel="updates", ylabel="loss of the batch")
    norm.set(xscale="log", yscale="log", xlabel="updates", ylabel="norm of its gradient")
    loss.legend(loc="lower left")
