"""The loss along a line, with the accuracy on a second axis (Keskar et al. 2017, figure 3)."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from ..results import DONE, Line
from .marks import HALO
from .names import alpha_and_policy, between
from .placing import FONT, SIDES, along, find_place, settle
from .slices import band, hatch_missing, valued, wide
from .style import COLOURS

LOSS_COLOUR, ACCURACY_COLOUR, CURVATURE_COLOUR = COLOURS[:3]
VISIBLE = 0.05  # of the axis's height, that a barrier must have to be drawn
RESOLVED = 0.05  # relative residual above which an eigenvalue counts as rough
ARROW: dict[str, Any] = {"arrowstyle": "<->", "linewidth": 0.7, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 6}


def draw_line(line: Line, axes: Axes, curvature: Axes | None = None) -> None:
    """Loss on the left axis and accuracy on the right: train solid, test dashed; bands are +- 1 standard error.

    Non-finite points are hatched, never bridged. Between two minima both are named, and the barrier is the arrow from
    the chord up to the loss. `curvature` takes the largest eigenvalue of the Hessian, where the line has it.
    """
    loss = valued(line.loss, line.point_status)
    axes.plot(line.alpha, loss, color=LOSS_COLOUR, label=f"loss, {line.split}")
    band(line.alpha, loss, line.loss_stderr, axes, LOSS_COLOUR)
    if line.test_loss is not None:
        test = valued(line.test_loss, line.point_status)
        axes.plot(line.alpha, test, "--", color=LOSS_COLOUR, linewidth=0.9, label="loss, test")
    if wide([loss]):
        axes.set_yscale("log")
    axes.set_ylabel("loss", color=LOSS_COLOUR)
    both, panels = [axes], [axes]
    if line.accuracy is not None:
        both.append(_draw_accuracy(line, axes))
    if curvature is not None and line.eigenvalue is not None:
        draw_curvature(line, curvature)
        panels.append(curvature)
    for panel in panels:
        hatch_missing(line.alpha, line.point_status, panel)
        panel.tick_params(labelbottom=panel is panels[-1])
    panels[-1].set_xlabel(alpha_and_policy(line))
    _mark_ends(line, panels)
    handles = [handle for panel in both for handle in panel.get_legend_handles_labels()[0]]
    axes.figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    _draw_barrier(line, *both)


def draw_curvature(line: Line, axes: Axes) -> None:
    """The largest eigenvalue of the Hessian along a line; hollow where its residual says that it is rough."""
    assert line.eigenvalue is not None
    found = valued(line.eigenvalue, line.point_status)
    residual = np.zeros(found.shape) if line.eigenvalue_residual is None else line.eigenvalue_residual
    axes.plot(line.alpha, found, color=CURVATURE_COLOUR, linewidth=0.9)
    for rough, face in ((False, CURVATURE_COLOUR), (True, "white")):
        chosen = np.where((residual > RESOLVED) == rough, found, np.nan)
        if np.isfinite(chosen).any():
            axes.plot(
                line.alpha, chosen, "o", color=CURVATURE_COLOUR, markerfacecolor=face, markersize=2.5,
                markeredgewidth=0.7, label=f"residual > {RESOLVED:.0%}".replace("%", " %") if rough else None,
            )  # fmt: skip
            if rough:
                axes.legend(loc="best", handletextpad=0.2, borderaxespad=0.2)
    if wide([found]):
        axes.set_yscale("log")
    axes.set_ylabel("largest\neigenvalue", color=CURVATURE_COLOUR)


def _draw_accuracy(line: Line, axes: Axes) -> Axes:
    """Accuracies on an axis of their own at the right, under the losses."""
    assert line.accuracy is not None
    right = axes.twinx()
    right.spines["right"].set_visible(True)
    accuracy = valued(line.accuracy * 100, line.point_status)
    right.plot(line.alpha, accuracy, color=ACCURACY_COLOUR, label=f"accuracy, {line.split}")
    if line.test_accuracy is not None:
        test = valued(line.test_accuracy * 100, line.point_status)
        right.plot(line.alpha, test, "--", color=ACCURACY_COLOUR, linewidth=0.9, label="accuracy, test")
    right.set_ylabel("accuracy (%)", color=ACCURACY_COLOUR)
    right.set_ylim(0, 103)
    # Else the accuracy would run over what is written about the barrier.
    axes.set_zorder(right.get_zorder() + 1)
    axes.patch.set_visible(False)
    return right


def _mark_ends(line: Line, panels: list[Axes]) -> None:
    ends = between(line)
    for position, name in zip((0.0, 1.0), ends or (), strict=False):
        for panel in panels:
            panel.axvline(position, color="0.5", linewidth=0.7, linestyle=":")
        panels[0].annotate(
            name, (position, 1.0), xycoords=("data", "axes fraction"), xytext=(0, 2), textcoords="offset points",
            ha="center", fontsize=7,
        )  # fmt: skip


def _draw_barrier(line: Line, axes: Axes, *others: Axes) -> None:
    """The chord between the minima and an arrow from it to the loss where the barrier is, if it can be seen."""
    inside = np.flatnonzero((line.alpha >= 0) & (line.alpha <= 1))
    if line.barrier is None or not line.barrier > 0 or not len(inside) or not (line.point_status[inside] == DONE).all():
        return
    first, last = (line.loss[inside[i]] for i in (0, -1))
    if (line.alpha[inside[0]], line.alpha[inside[-1]]) != (0.0, 1.0):
        return
    chord = (1 - line.alpha[inside]) * first + line.alpha[inside] * last
    peak = int(np.argmax(line.loss[inside] - chord))
    t, low, high = line.alpha[inside][peak], chord[peak], line.loss[inside][peak]
    bottom, top = (_height(value, axes) for value in (low, high))
    if top - bottom < VISIBLE:
        return
    axes.plot(line.alpha[inside], chord, color="0.4", linewidth=0.7, linestyle=(0, (4, 2)))
    axes.annotate("", (t, low), (t, high), arrowprops=ARROW)
    text = f"barrier {line.barrier:.3g}"
    if line.barrier_low is not None and line.barrier_high is not None:
        text += f"\n[{line.barrier_low:.3g}, {line.barrier_high:.3g}]"
    middle = np.sqrt(low * high) if axes.get_yscale() == "log" else (low + high) / 2
    around = [(t, middle), (t, low), (t, high)]
    settle(axes)
    sides = [side for side in SIDES if side != (0, 1)] if top > 0.8 else SIDES  # above stand the names of the minima
    place = find_place(text, around, axes, dots=_drawn((axes, *others), around), sides=sides, gaps=(5.0, 15.0, 30.0))
    axes.annotate(text, place.point, fontsize=FONT, linespacing=1.1, path_effects=HALO, **place.how)


def _drawn(panels: tuple[Axes, ...], arrow: list[tuple[float, float]]) -> np.ndarray:
    """Dots along the arrow and all curves of axes that lie on each other, in points."""
    # Lines of two points are those that mark the ends.
    curves = [
        (line.get_xydata(), panel) for panel in panels for line in panel.get_lines() if np.size(line.get_xdata()) > 2
    ]
    return np.vstack([along(arrow[1:], panels[0]), *(along(curve, panel) for curve, panel in curves)])


def _height(value: float, axes: Axes) -> float:
    """Where a loss lies between the bottom (0) and the top (1) of the axes."""
    limits = np.array([value, *axes.get_ylim()])
    scaled = np.log10(limits) if axes.get_yscale() == "log" else limits
    return float((scaled[0] - scaled[1]) / (scaled[2] - scaled[1]))
