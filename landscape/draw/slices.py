"""What drawings of slices share: which points have a value, how missing ones look, when an axis is logarithmic."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from ..results import DONE, INTERPOLATED, NON_FINITE
from ..results.base import Array

LOG_FROM = 30.0  # ratio of the largest to the smallest loss above which the axis is logarithmic
BAND = 0.2  # opacity
HATCH: dict[str, Any] = {"facecolor": "none", "edgecolor": "0.6", "hatch": "////", "linewidth": 0}


def valued(values: Array, status: Array) -> Array:
    """The values where a point has one, nan elsewhere: lines drawn through them leave gaps."""
    return np.where(((status == DONE) | (status == INTERPOLATED)) & np.isfinite(values), values, np.nan)


def wide(values: Iterable[Array], ratio: float = LOG_FROM) -> bool:
    """Whether the finite values are all positive and span so much that their axis should be logarithmic."""
    found = np.concatenate([np.ravel(part)[np.isfinite(np.ravel(part))] for part in values])
    return bool(found.size and (found > 0).all() and found.max() > ratio * found.min())


def band(alpha: Array, loss: Array, stderr: Array, axes: Axes, colour: str, opacity: float = BAND) -> None:
    """Shades +- 1 standard error."""
    stderr = np.where(np.isfinite(stderr), stderr, np.nan)
    # A lower end at or below zero has no place on a logarithmic axis.
    low = np.where(loss > 0, np.maximum(loss - stderr, loss / 2), loss - stderr)
    axes.fill_between(alpha, low, loss + stderr, color=colour, alpha=opacity, linewidth=0)


def hatch_missing(alpha: Array, status: Array, axes: Axes) -> None:
    """Hatches the surroundings of the points that are not finite."""
    if not (status == NON_FINITE).any():
        return
    limits = axes.get_xlim()
    middles = (alpha[1:] + alpha[:-1]) / 2
    edges = np.concatenate([alpha[:1], middles, alpha[-1:]])
    for index in np.flatnonzero(status == NON_FINITE):
        axes.axvspan(edges[index], edges[index + 1], **HATCH)
    axes.set_xlim(min(limits[0], alpha[0]), max(limits[1], alpha[-1]))
