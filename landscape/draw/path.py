"""The loss and the error on a trained curve, beside those on the straight segment (Garipov et al. 2018, figure 2)."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from ..results import Line, Path
from ..results.base import Array
from .slices import band, hatch_missing, valued, wide
from .style import COLOURS

LOSS_COLOUR, ERROR_COLOUR, STRAIGHT_COLOUR = COLOURS[0], COLOURS[1], "0.6"
STRAIGHT: dict[str, Any] = {"color": STRAIGHT_COLOUR, "linewidth": 1.0, "zorder": 1}
OF_STRAIGHT = "straight:"  # begins the labels of the line
THIN = 0.9  # width of what is of the test split
HEADROOM = 1.08  # of the axis of errors above the largest
LEAST_ERROR = 1.0  # per cent that this axis spans at least


def draw_path(path: Path, axes: Axes, *, straight: Line | None = None) -> None:
    """Loss on the left axis and error on the right against t: train solid, test dashed; bands are +- 1 standard error.

    The straight line between the same minima, where it is handed in, in grey. Non-finite points are hatched, never
    bridged. The ends are named.
    """
    loss = valued(path.loss, path.point_status)
    losses = [loss]
    right = axes.twinx() if path.accuracy is not None else None
    if straight is not None:
        losses.append(_draw_straight(straight, axes, right))
    axes.plot(path.t, loss, color=LOSS_COLOUR, label=f"loss, {path.split}")
    band(path.t, loss, path.loss_stderr, axes, LOSS_COLOUR)
    if path.test_loss is not None:
        axes.plot(path.t, path.test_loss, "--", color=LOSS_COLOUR, linewidth=THIN, label="loss, test")
    if wide(losses):
        axes.set_yscale("log")
    axes.set_ylabel("loss", color=LOSS_COLOUR)
    axes.set_xlabel(rf"$t$ on the {_name(path)}")
    hatch_missing(path.t, path.point_status, axes)
    handles, labels = axes.get_legend_handles_labels()
    if right is not None:
        _draw_error(path, right)
        more = right.get_legend_handles_labels()
        handles, labels = handles + more[0], labels + more[1]
    _mark_ends(path, axes)
    # The columns of the legend: losses, errors, the straight line.
    order = sorted(range(len(labels)), key=lambda i: labels[i].startswith(OF_STRAIGHT))
    axes.figure.legend(
        [handles[i] for i in order], [labels[i] for i in order], loc="outside lower center",
        ncols=3 if straight is not None else len(order), title=_barriers(path, straight), title_fontsize=7,
    )  # fmt: skip


def _draw_error(path: Path, right: Axes) -> None:
    assert path.accuracy is not None
    right.plot(path.t, _percent(path.accuracy, path.point_status), color=ERROR_COLOUR, label=f"error, {path.split}")
    if path.test_accuracy is not None:
        error = _percent(path.test_accuracy, path.point_status)
        right.plot(path.t, error, "--", color=ERROR_COLOUR, linewidth=THIN, label="error, test")
    drawn = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in right.lines])
    largest = np.max(drawn, initial=LEAST_ERROR, where=np.isfinite(drawn))
    right.set_ylim(-0.03 * largest, HEADROOM * largest)
    right.set_ylabel("error (%)", color=ERROR_COLOUR)
    right.spines["right"].set_visible(True)


def _draw_straight(line: Line, axes: Axes, right: Axes | None) -> Array:
    """The part of a line between the minima, in grey; returns the losses drawn."""
    inside = (line.alpha >= 0) & (line.alpha <= 1)
    t, status = line.alpha[inside], line.point_status[inside]
    loss = valued(line.loss[inside], status)
    axes.plot(t, loss, label=f"{OF_STRAIGHT} loss, {line.split}", **STRAIGHT)
    test = line.test_accuracy is not None
    accuracy = line.test_accuracy if test else line.accuracy
    if right is not None and accuracy is not None:
        right.plot(
            t, _percent(accuracy[inside], status), "--" if test else ":",
            label=f"{OF_STRAIGHT} error, {'test' if test else line.split}", **STRAIGHT,
        )  # fmt: skip
    return loss


def _percent(accuracy: Array, status: Array) -> Array:
    return 100 * (1 - valued(accuracy, status))


def _name(path: Path) -> str:
    """The curve in words."""
    count = len(path.bends)
    name = "Bézier curve" if path.curve == "bezier" else "polygonal chain"
    aligned = ", after permutation" if path.direction.get("align") else ""
    return f"{name} with {count} trained bend{'' if count == 1 else 's'}{aligned}"


def _barriers(path: Path, straight: Line | None) -> str | None:
    """The barriers of the loss, to stand over the legend."""
    if path.barrier is None:
        return None
    text = f"loss barrier {path.barrier:.2g} on the curve"
    return (
        text if straight is None or straight.barrier is None else f"{text}, {straight.barrier:.2g} on the straight line"
    )


def _mark_ends(path: Path, axes: Axes) -> None:
    for position, name in zip((0.0, 1.0), path.direction.get("ends", ()), strict=False):
        axes.axvline(position, color="0.5", linewidth=0.7, linestyle=":")
        axes.annotate(
            name, (position, 1.0), xycoords=("data", "axes fraction"), xytext=(0, 2), textcoords="offset points",
            ha="center", fontsize=7,
        )  # fmt: skip
