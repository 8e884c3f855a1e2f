"""Where a text beside a point stands: where it covers least of what is drawn, and stays inside the axes.

All in points (1/72 inch) from the lower left corner of the axes as they are when the text is added: `settle` first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes

from ..results.base import Array

FONT = 7
SIDES = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1))  # in the order that is preferred
# What it costs that a text is a point further away, reaches a point outside, covers a dot, covers another text.
AWAY, OUTSIDE, COVERED, OVERLAPPING = 0.5, 10.0, 8.0, 200.0


class Place(NamedTuple):
    """A place for a text: the point it belongs to (data), how it is set beside it, and its corners (2, 2)."""

    point: tuple[float, float]
    how: dict[str, Any]
    corners: Array


def find_place(
    text: str,
    near: Sequence[tuple[float, float]],
    axes: Axes,
    *,
    dots: Array,
    taken: Iterable[Array] = (),
    sides: Sequence[tuple[int, int]] = SIDES,
    gaps: Sequence[float] = (5.0,),
) -> Place:
    """The best place for a text beside one of the points `near`.

    `dots` (n, 2) are not to be covered, `taken` are the corners of other texts, `gaps` the distances to try.
    """
    box, used, best = size_of(axes), list(taken), (np.inf, None)
    lines = text.split("\n")
    size = np.array([0.52 * FONT * max(map(len, lines)), 1.2 * FONT * len(lines)])
    for point, side, gap in product(near, sides, gaps):
        step = np.array(side) * (gap if 0 in side else gap / 2)
        middle = in_points([point], axes)[0] + step + np.array(side) * size / 2
        corners = np.array([middle - size / 2, middle + size / 2])
        outside = np.maximum(-corners[0], 0).sum() + np.maximum(corners[1] - box, 0).sum()
        covered = ((dots > corners[0] - 2) & (dots < corners[1] + 2)).all(axis=1).sum()
        overlaps = sum(overlap(corners, other) for other in used)
        cost = AWAY * gap + OUTSIDE * outside + COVERED * covered + OVERLAPPING * overlaps
        if cost < best[0]:
            how = {"ha": ("center", "left", "right")[side[0]], "va": ("center", "bottom", "top")[side[1]]}
            best = (cost, Place(point, how | {"xytext": tuple(step), "textcoords": "offset points"}, corners))
    assert best[1] is not None
    return best[1]


def settle(axes: Axes) -> None:
    """Lays the figure out, so that places are sought in axes of their final size."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()


def overlap(first: Array, second: Array) -> bool:
    """Whether two boxes share an area."""
    return bool((first[0] < second[1]).all() and (first[1] > second[0]).all())


def size_of(axes: Axes) -> Array:
    """Width and height of the axes, in points."""
    axes.apply_aspect()
    figure = axes.get_figure(root=True)
    assert figure is not None
    return np.array(axes.bbox.size) * 72 / figure.dpi


def in_points(data: Any, axes: Axes) -> Array:
    """Points of the data (n, 2), in points from the corner of the axes; those that are not finite are left out."""
    axes.get_xlim()  # brings the limits up to date, which the transformation alone does not
    axes.get_ylim()
    figure = axes.get_figure(root=True)
    assert figure is not None
    found = np.asarray(data, dtype=float).reshape(-1, 2)
    found = found[np.isfinite(found).all(axis=1)]
    return (axes.transData.transform(found) - axes.bbox.min) * 72 / figure.dpi


def along(data: Any, axes: Axes, spacing: float = 2.0) -> Array:
    """Dots along the line through points of the data (n, 2), about `spacing` apart, in points."""
    corners = in_points(data, axes)
    if len(corners) < 2:
        return corners
    lengths = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(corners, axis=0), axis=1))])
    at = np.linspace(0, lengths[-1], max(2, min(2000, int(lengths[-1] / spacing))))
    return np.column_stack([np.interp(at, lengths, corners[:, i]) for i in (0, 1)])
