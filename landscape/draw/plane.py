"""Planes around minima: contours, compared minima on one scale."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure

from ..results import DONE, INTERPOLATED, NON_FINITE, TODO, Plane
from .frame import set_axes
from .marks import EVALUATED, draw_marks, draw_residuals, draw_trajectory, trajectory_legend
from .placing import in_points, overlap, settle
from .style import LOSS_MAP

LOG_FROM = 100.0  # ratio of the largest to the smallest loss above which levels are spaced by their logarithm
NUM_LEVELS = 13
COLUMNS = 4
CLEAR = 12.0  # points around the label of a level


def draw_plane(plane: Plane, axes: Axes, *, norm: Normalize | None = None, levels: np.ndarray | None = None) -> None:
    """Filled contours with labelled lines; minima and trajectories are marked, non-finite cells are hatched.

    Where points were interpolated, dots show those that were evaluated. The axes are isometric in the params unless
    the picture would be too elongated. Points that are still to do are left blank.
    """
    if norm is None or levels is None:
        norm, levels = common_scale([plane])
    lines = _draw_field(plane, axes, norm, levels)
    settle(axes)
    _draw_names(plane, axes, lines)


def _draw_field(plane: Plane, axes: Axes, norm: Normalize, levels: np.ndarray) -> ContourSet | None:
    """All but what depends on the size of the axes; the lines of the levels."""
    # Interpolation can leave the range of the evaluated points, and what is off the scale would look missing.
    loss = np.ma.clip(shown(plane), levels[0], levels[-1])
    lines = None
    alpha, beta = np.meshgrid(plane.alpha, plane.beta, indexing="ij")
    if loss.count():
        axes.contourf(alpha, beta, loss, levels=levels, norm=norm, cmap=LOSS_MAP)
        lines = axes.contour(alpha, beta, loss, levels=levels[::2], colors="white", linewidths=0.4)
    missing = plane.point_status == NON_FINITE
    if missing.any():
        # Any share of a missing point: just what the contours leave out.
        share = np.ma.masked_where(plane.point_status == TODO, missing.astype(float))
        with rc_context({"hatch.linewidth": 0.4}):
            axes.contourf(alpha, beta, share, levels=[1e-9, 1.5], colors="none", hatches=["///////"])
        axes.contour(alpha, beta, share, levels=[1e-9], colors="0.3", linewidths=0.3)
    if (plane.point_status == INTERPOLATED).any():
        done = plane.point_status == DONE
        axes.plot(alpha[done], beta[done], linestyle="none", **EVALUATED)
    draw_trajectory(plane, axes)
    set_axes(plane, axes)
    return lines


def _draw_names(plane: Plane, axes: Axes, lines: ContourSet | None) -> None:
    """The marks and their names, and the labels of levels where they lie across none of them."""
    names = draw_marks(plane, axes)
    drawn = [line.get_xydata() for line in axes.get_lines() if line.get_zorder() > 3]
    missing = np.argwhere(plane.point_status == NON_FINITE)
    drawn.append(np.column_stack([plane.alpha[missing[:, 0]], plane.beta[missing[:, 1]]]))
    marked = np.vstack([in_points(points, axes) for points in drawn])
    if lines is None:
        return
    free = []
    for label in axes.clabel(lines, fontsize=5, inline=False):
        place = in_points([label.get_position()], axes)
        corners = np.vstack([place - CLEAR, place + CLEAR])
        if not any(overlap(corners, other) for other in names) and not (np.abs(marked - place) < CLEAR).all(1).any():
            free.append(label.get_position())
        label.remove()
    if free:  # again, since a line is cut where its label stands
        axes.clabel(lines, fmt=_short, fontsize=5, manual=free)


def draw_planes(planes: Mapping[str, Plane], figure: Figure) -> None:
    """One panel a minimum, side by side, with common levels and colours.

    Below a plane with a trajectory stands the share of each of its points' distances that lies off the plane.
    """
    with_runs = any(plane.trajectory_alpha is not None for plane in planes.values())
    rows, columns = grid_of(len(planes))
    ratios = [1.0, 0.3] if with_runs else [1.0]
    cells = figure.add_gridspec(rows * len(ratios), columns, height_ratios=ratios * rows)
    norm, levels = common_scale(list(planes.values()))
    panels: list[Axes] = []
    below: list[Axes] = []
    levelled = []
    for index, (label, plane) in enumerate(planes.items()):
        row, column = divmod(index, columns)
        first = panels[0] if panels else None
        panel = figure.add_subplot(cells[row * len(ratios), column], sharex=first, sharey=first)
        levelled.append(_draw_field(plane, panel, norm, levels))
        panel.set_title(plane_title(plane, label, narrow=len(planes) > 1))
        panel.tick_params(labelleft=column == 0)
        panels.append(panel)
        if plane.trajectory_alpha is not None:
            below.append(figure.add_subplot(cells[row * 2 + 1, column], sharey=below[0] if below else None))
            draw_residuals(plane, below[-1])
    split = next(iter(planes.values())).split
    mappable = ScalarMappable(norm, LOSS_MAP)
    bar = _colour_bar(figure, mappable, panels, levels)
    bar.set_ylabel(f"loss, {split}")
    handles = trajectory_legend(planes.values())
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 5))
    settle(panels[0])
    for plane, panel, lines in zip(planes.values(), panels, levelled, strict=True):
        _draw_names(plane, panel, lines)


def plane_title(plane: Plane, label: str = "", *, narrow: bool = False) -> str:
    """The label, and below it what of the plane was not evaluated."""
    notes = []
    count = int((plane.point_status == NON_FINITE).sum())
    if count:
        notes.append(f"{count} points non-finite")
    if (plane.point_status == INTERPOLATED).any():
        space = "\n" if narrow else " "
        notes.append(f"{int(plane.evaluated.sum())} of {plane.point_status.size} points{space}evaluated (dots)")
        if plane.interpolation_error is not None and np.isfinite(plane.interpolation_error):
            notes.append(rf"error $\approx$ {100 * plane.interpolation_error:.2g} % of{space}the range (estimate)")
    if len(notes) == 1 and count and not narrow and label:
        return f"{label} ({notes[0]})"
    return "\n".join(part for part in (label, *notes) if part)


def grid_of(count: int) -> tuple[int, int]:
    """Rows and columns of panels."""
    columns = min(COLUMNS, count)
    return math.ceil(count / columns), columns


def common_scale(planes: Sequence[Plane]) -> tuple[Normalize, np.ndarray]:
    """A colour scale and contour levels that all planes fit: by the logarithm where the losses span decades."""
    values = np.concatenate([plane.loss[plane.point_status == DONE] for plane in planes])
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
    if low >= 0 and high > LOG_FROM * low:  # a loss of 0 too, as float32 gives it
        low = max(low, high * 1e-6)
        return LogNorm(low, high), np.geomspace(low, high, NUM_LEVELS)
    high = high if high > low else low + 1.0
    return Normalize(low, high), np.linspace(low, high, NUM_LEVELS)


def shown(plane: Plane) -> np.ma.MaskedArray:
    """The losses that are drawn: evaluated or interpolated, and finite."""
    has_value = (plane.point_status == DONE) | (plane.point_status == INTERPOLATED)
    return np.ma.masked_where(~has_value, plane.loss)


def _colour_bar(figure: Figure, mappable: ScalarMappable, panels: list[Axes], levels: np.ndarray) -> Axes:
    bar = figure.colorbar(
        mappable, ax=panels, shrink=0.75 if len(panels) > 1 else 0.9, pad=0.02, format=_short, boundaries=levels,
        ticks=levels[::2],
    )  # fmt: skip
    bar.ax.minorticks_off()
    return bar.ax


def _short(value: float, _position: int = 0) -> str:
    return f"{value:.2g}"
