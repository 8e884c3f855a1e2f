"""What was noted along a run: measures tracked over epochs, and each of its updates."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes

from ..results import Tracked, Updates
from .style import COLOURS, look

NAMES = {
    "eigen": "largest eigenvalue of the Hessian",
    "sharpness": "Keskar's sharpness\n(percent of 1 + loss)",
}  # of tracked measures, for the label of an axis
SMOOTH = 100  # points that a curve of all updates is averaged into


def draw_tracked(runs: Mapping[str, Tracked], axes: Axes) -> None:
    """The first column of a measure over epochs, a line for each run."""
    measures = {run.measure for run in runs.values()}
    for index, (label, run) in enumerate(runs.items()):
        axes.plot(run.epoch, run.values[:, 0], label=label, markevery=max(1, len(run.epoch) // 12), **look(index))
    axes.set(xlabel="epochs", ylabel=" / ".join(NAMES.get(measure, measure) for measure in sorted(measures)))
    positive = [run.values[:, 0] for run in runs.values()]
    if all((values[np.isfinite(values)] > 0).all() for values in positive):
        axes.set_yscale("log")
    axes.legend()


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
