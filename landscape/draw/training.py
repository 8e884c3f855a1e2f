"""Training curves of one or more runs: loss and accuracy against updates."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from ..results import Training
from .style import COLOURS


def draw_training(runs: Mapping[str, Training], loss: Axes, accuracy: Axes) -> None:
    """Loss (log) on one axes and error in percent (log) on the other: train solid, test dashed, by label."""
    longest = max(run.updates[-1] for run in runs.values())
    for index, (label, run) in enumerate(runs.items()):
        colour = COLOURS[index % len(COLOURS)]
        # Runs that share a beginning lie on each other: the shorter one on top.
        above = 2 + float(1 - run.updates[-1] / (longest or 1))
        later = run.updates > 0
        updates = run.updates[later]
        loss.plot(updates, run.train_loss[later], color=colour, label=label, zorder=above)
        accuracy.plot(updates, run.train_accuracy[later] * 100, color=colour, label=label, zorder=above)
        if np.isfinite(run.test_loss).any():
            dashed = {"color": colour, "linestyle": "--", "linewidth": 0.9, "zorder": above}
            loss.plot(updates, run.test_loss[later], **dashed)
            accuracy.plot(updates, run.test_accuracy[later] * 100, **dashed)
        for axes, values in ((loss, run.train_loss), (accuracy, run.train_accuracy * 100)):
            axes.plot(updates[-1], values[-1], "o", color=colour, clip_on=False, zorder=above)
    loss.set(xscale="log", yscale="log", xlabel="updates", ylabel="loss")
    accuracy.set(xscale="log", xlabel="updates", ylabel="accuracy (%)")
    lowest = min(float(np.nanmin(run.test_accuracy[1:])) for run in runs.values()) * 100
    accuracy.set_ylim(max(0.0, min(90.0, lowest)), 100.4)
    splits = [
        Line2D([], [], color="0.3", label="train"),
        Line2D([], [], color="0.3", linestyle="--", linewidth=0.9, label="test"),
    ]
    accuracy.legend(handles=splits, loc="lower right")
    loss.legend(loc="lower left")
