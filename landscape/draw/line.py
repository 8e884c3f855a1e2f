"""The loss along a line, with the accuracy on a second axis (Keskar et al. 2017, figure 3)."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from ..results import Line
from .style import COLOURS

LOSS_COLOUR, ACCURACY_COLOUR = COLOURS[0], COLOURS[1]
LOG_FROM = 30.0  # ratio of the largest to the smallest loss above which the axis is logarithmic


def draw_line(line: Line, axes: Axes) -> None:
    """Loss on the left axis and accuracy on the right: train solid, test dashed; bands are +- 1 standard error.

    Non-finite points are hatched, never bridged. Between two minima both are marked.
    """
    done = line.point_status == 1
    loss = np.where(done, line.loss, np.nan)
    axes.plot(line.alpha, loss, color=LOSS_COLOUR, label=f"loss, {line.split}")
    low, high = loss - line.loss_stderr, loss + line.loss_stderr
    axes.fill_between(line.alpha, np.maximum(low, loss / 2), high, color=LOSS_COLOUR, alpha=0.2, linewidth=0)
    if line.test_loss is not None:
        axes.plot(line.alpha, line.test_loss, "--", color=LOSS_COLOUR, linewidth=0.9, label="loss, test")
    if (loss[done] > 0).all() and np.nanmax(loss) > LOG_FROM * np.nanmin(loss):
        axes.set_yscale("log")
    _hatch_missing(line, axes)
    ends = line.direction.get("ends", ())
    axes.set_ylabel("loss", color=LOSS_COLOUR)
    axes.set_xlabel(r"$\alpha$" if len(ends) == 2 else rf"$\alpha$  (unit {line.unit_length:.3g})")
    handles, labels = axes.get_legend_handles_labels()
    if line.accuracy is not None:
        right = axes.twinx()
        right.spines["right"].set_visible(True)
        right.plot(line.alpha, line.accuracy * 100, color=ACCURACY_COLOUR, label=f"accuracy, {line.split}")
        if line.test_accuracy is not None:
            right.plot(
                line.alpha,
                line.test_accuracy * 100,
                "--",
                color=ACCURACY_COLOUR,
                linewidth=0.9,
                label="accuracy, test",
            )
        right.set_ylabel("accuracy (%)", color=ACCURACY_COLOUR)
        right.set_ylim(0, 103)
        more = right.get_legend_handles_labels()
        handles, labels = handles + more[0], labels + more[1]
    if len(ends) == 2:
        for position, name in zip((0, 1), ends, strict=True):
            axes.axvline(position, color="0.5", linewidth=0.7, linestyle=":")
            axes.annotate(
                name, (position, 1.0), xycoords=("data", "axes fraction"), xytext=(0, 2),
                textcoords="offset points", ha="center", fontsize=7,
            )  # fmt: skip
    axes.figure.legend(handles, labels, loc="outside lower center", ncols=len(handles))


def _hatch_missing(line: Line, axes: Axes) -> None:
    step = float(np.diff(line.alpha).min()) if len(line.alpha) > 1 else 1.0
    for alpha in line.alpha[line.point_status == 2]:
        axes.axvspan(alpha - step / 2, alpha + step / 2, facecolor="none", edgecolor="0.6", hatch="////", linewidth=0)
