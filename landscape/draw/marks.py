"""What is marked on a plane: minima with their names, runs from first to last point, and how far off they lie."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from ..results import Plane
from ..results.base import Array
from .placing import FONT, along, find_place, in_points, size_of
from .style import COLOURS, MARKERS

ON_PLANE = 1e-6  # residual, as a fraction of the plane's extent, up to which a point lies in the plane
RUN_COLOURS = tuple(COLOURS[index] for index in (1, 3, 4, 5, 6))  # those that stand out on the colours of the loss
EVALUATED: dict[str, Any] = {
    "marker": ".",
    "color": "white",
    "markeredgecolor": "0.2",
    "markersize": 2.2,
    "markeredgewidth": 0.15,
}
HALO = [withStroke(linewidth=1.8, foreground="white")]
DOT: dict[str, Any] = {"marker": "o", "markersize": 2.6, "markeredgecolor": "white", "markeredgewidth": 0.3}
FIRST: dict[str, Any] = {"marker": "o", "markersize": 4.5, "markerfacecolor": "white", "markeredgewidth": 1.0}
# Larger than a mark, which mostly lies on it.
LAST: dict[str, Any] = {"marker": "s", "markersize": 7, "markeredgecolor": "white", "markeredgewidth": 0.5}
MARKS = (*MARKERS[2:], *MARKERS[:2])  # circles and squares are the ends of runs


def draw_marks(plane: Plane, axes: Axes) -> list[Array]:
    """Minima with their names beside them, hollow where they lie off the plane; the corners of the names, in points.

    A star marks the centre where no minimum does.
    """
    names, points = plane.marks or (), _points(plane.mark_alpha, plane.mark_beta)
    extent = np.array([np.ptp(plane.alpha), np.ptp(plane.beta)])
    if not (np.abs(points) <= ON_PLANE * extent).all(axis=1).any():
        axes.plot(0, 0, marker="*", color="white", markeredgecolor="black", markeredgewidth=0.5, markersize=8, zorder=6)
    off = _off_plane(plane)
    dots = np.vstack([in_points(points, axes), *(along(points_of, axes) for _, points_of in _runs(plane))])
    taken: list[Array] = []
    for index, (name, (x, y)) in enumerate(zip(names, points, strict=True)):
        axes.plot(
            x, y, linestyle="none", marker=MARKS[index % len(MARKS)], markersize=5, label=name, markeredgewidth=0.8,
            markeredgecolor="black", markerfacecolor="none" if off[index] else "white", zorder=6,
            path_effects=HALO if off[index] else None,
        )  # fmt: skip
        residual = 0.0 if plane.mark_residual is None else plane.mark_residual[index]
        text = f"{name} (+{residual:.3g} off the plane)" if off[index] else name
        if len(text) * FONT > size_of(axes)[0]:  # more than about half as wide as the axes
            text = text.replace(" (", "\n(").replace(" off the", " off\nthe")
        place = find_place(text, [(x, y)], axes, dots=dots, taken=taken)
        taken.append(place.corners)
        axes.annotate(text, place.point, fontsize=FONT, path_effects=HALO, zorder=7, linespacing=1.1, **place.how)
    return taken


def draw_trajectory(plane: Plane, axes: Axes) -> None:
    """The points of each run in order, projected onto the plane: the first is a ring, the last a square."""
    for index, (name, points) in enumerate(_runs(plane)):
        colour = RUN_COLOURS[index % len(RUN_COLOURS)]
        axes.plot(*points.T, color=colour, linewidth=1.0, label=name, path_effects=HALO, zorder=4)
        axes.plot(*points.T, linestyle="none", color=colour, zorder=5, **DOT)
        axes.plot(*points[0], linestyle="none", color=colour, zorder=5, **FIRST)
        axes.plot(*points[-1], linestyle="none", color=colour, zorder=5, **LAST)


def draw_residuals(plane: Plane, axes: Axes) -> None:
    """The share of each point's distance from the centre that lies off the plane, over the points of each run."""
    assert plane.trajectory is not None
    assert plane.trajectory_residual is not None
    assert plane.trajectory_distance is not None
    for index, (name, _) in enumerate(_runs(plane)):
        chosen = np.array(plane.trajectory) == name
        residual, distance = plane.trajectory_residual[chosen], plane.trajectory_distance[chosen]
        # The centre itself has no share: a gap.
        share = np.divide(residual, distance, out=np.full(len(residual), np.nan), where=distance > 0)
        colour = RUN_COLOURS[index % len(RUN_COLOURS)]
        axes.plot(np.arange(len(share)), share, color=colour, linewidth=1.0, marker="o", markersize=1.8, label=name)
    axes.set(xlabel="point of the run", ylabel="share off\nthe plane", ylim=(-0.04, 1.04), yticks=[0, 0.5, 1])
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))


def trajectory_legend(planes: Iterable[Plane]) -> list[Line2D]:
    """Handles of the runs, by their order in each plane, and of their first and last points."""
    runs = {name: RUN_COLOURS[i % len(RUN_COLOURS)] for plane in planes for i, (name, _) in enumerate(_runs(plane))}
    handles = [Line2D([], [], color=colour, label=name, **DOT) for name, colour in runs.items()]
    if runs:
        grey: dict[str, Any] = {"color": "0.3", "linestyle": "none"}
        handles += [
            Line2D([], [], label=f"{n} point", **grey, **look) for n, look in (("first", FIRST), ("last", LAST))
        ]
    return handles


def _runs(plane: Plane) -> list[tuple[str, Array]]:
    """The names of the runs and their points (k, 2)."""
    if plane.trajectory is None or plane.trajectory_alpha is None:
        return []
    of, points = np.array(plane.trajectory), _points(plane.trajectory_alpha, plane.trajectory_beta)
    return [(name, points[of == name]) for name in dict.fromkeys(plane.trajectory)]


def _points(alpha: Array | None, beta: Array | None) -> Array:
    return np.empty((0, 2)) if alpha is None or beta is None else np.column_stack([alpha, beta])


def _off_plane(plane: Plane) -> Array:
    """Which marks lie noticeably off the plane, measured by the plane's own extent."""
    if plane.mark_residual is None:
        return np.zeros(len(plane.marks or ()), dtype=bool)
    extent = np.array([np.ptp(plane.alpha), np.ptp(plane.beta)]) * plane.unit_lengths
    size = float(np.nanmax(extent)) if np.isfinite(extent).any() else 1.0
    return plane.mark_residual > ON_PLANE * size
