"""The axes of a plane: labels with the lengths of their units, ranges, and an aspect that is true in the params."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes

from ..results import Plane
from .names import unit_text

ELONGATED = 3.0  # ratio of the sides of a panel above which its axes are not isometric


def set_axes(plane: Plane, axes: Axes) -> None:
    """Labels with the unit lengths, and an aspect that shows lengths in the space of params."""
    first, second = (float(length) for length in plane.unit_lengths)
    shares = [""] * 2 if plane.explained is None else [f"{share:.0%} of variance" for share in plane.explained]
    names = [
        symbol + unit_text(length) + ("\n" + share.replace("%", " %") if share else "")
        for symbol, length, share in zip((r"$\alpha$", r"$\beta$"), (first, second), shares, strict=True)
    ]
    axes.set(xlabel=names[0], ylabel=names[1])
    (left, right), (bottom, top) = limits_of(plane)
    axes.set(xlim=(left, right), ylim=(bottom, top))
    ratio = second / first if first > 0 else math.nan
    elongation = ratio * (top - bottom) / (right - left)
    if 1 / ELONGATED <= elongation <= ELONGATED:
        axes.set_aspect(ratio)
    else:
        axes.set_box_aspect(1)


def limits_of(plane: Plane) -> list[tuple[float, float]]:
    """The ranges of the plane, and a little more where marks or trajectories lie outside."""
    found = []
    others = ((plane.mark_alpha, plane.trajectory_alpha), (plane.mark_beta, plane.trajectory_beta))
    for axis, points in zip((plane.alpha, plane.beta), others, strict=True):
        low, high = float(axis[0]), float(axis[-1])
        values = np.concatenate([np.ravel(part) for part in points if part is not None] or [axis])
        values = values[np.isfinite(values)]
        pad = 0.08 * (high - low)
        found.append(
            (
                low if not values.size or values.min() >= low else float(values.min()) - pad,
                high if not values.size or values.max() <= high else float(values.max()) + pad,
            )
        )
    return found
