"""One function that draws any result."""

from __future__ import annotations

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from ..results import (
    BatchErrors,
    BatchSizes,
    Comparison,
    Correlation,
    Density,
    Eigenpairs,
    GradientNoise,
    LayerLines,
    Line,
    Path,
    Plane,
    Result,
    Sharpness,
    SharpnessSeries,
    Sweep,
    Trace,
    Tracked,
    TradeOff,
    Training,
    Updates,
)
from .along import draw_tracked, draw_updates
from .batch_errors import draw_batch_errors
from .batch_size import draw_batch_sizes
from .comparison import Page, draw_comparison
from .correlation import draw_correlation
from .correlation import grid_of as grid_of_measures
from .density import draw_density
from .eigenvalues import draw_eigenvalues
from .layers import draw_layers, grid_of
from .line import draw_line
from .noise import draw_noise
from .path import draw_path
from .plane import draw_plane, plane_title
from .series import draw_series, draw_series_along
from .sharpness import draw_sharpness
from .sweep import draw_sweep
from .trace import draw_trace
from .trade_off import draw_trade_off
from .training import draw_training


def draw(result: Result, ax: Axes | None = None, *, label: str = "") -> Axes:
    """Draws a result on an axes (a new one by default) and returns it. A training log shows its losses.

    Raises TypeError for what is no result.
    """
    axes = plt.subplots(layout="constrained")[1] if ax is None else ax
    match result:
        case Eigenpairs():
            draw_eigenvalues({label or result.operator: result}, axes)
        case Trace():
            draw_trace({label or result.method: result}, axes)
        case Density():
            draw_density({label or result.operator: result}, axes)
        case Line():
            draw_line(result, axes)
        case LayerLines():
            draw_layers(result, _cells(axes, *grid_of(result)))
        case Path():
            draw_path(result, axes)
        case Plane():
            draw_plane(result, axes)
            axes.set_title(plane_title(result, label))
        case Sharpness():
            draw_sharpness([(label or result.measure, result)], axes)
        case SharpnessSeries() if result.against == "epoch":
            draw_series_along({label or result.measure: result}, axes)
        case SharpnessSeries():
            draw_series({label or result.measure: result}, *_side_by_side(axes, 2))
        case Training():
            draw_training({label or "run": result}, axes, axes.inset_axes((0.6, 0.6, 0.38, 0.38)))
        case Updates():
            draw_updates({label or "run": result}, *_side_by_side(axes, 2))
        case Tracked():
            draw_tracked({label or result.measure: result}, axes)
        case Sweep():
            axes.set_axis_off()
            places = [(0.0, 0.6), (0.6, 0.6), (0.0, 0.0), (0.6, 0.0)]
            draw_sweep({label or result.rule: result}, [axes.inset_axes((x, y, 0.4, 0.4)) for x, y in places])
        case GradientNoise():
            draw_noise({label or "noise": result}, *_side_by_side(axes, 2))
        case BatchErrors():
            draw_batch_errors(result, axes)
        case TradeOff():
            draw_trade_off(result, *_side_by_side(axes, 2))
        case BatchSizes():
            draw_batch_sizes({label or "batch size": result}, _side_by_side(axes, 3))
        case Comparison():
            draw_comparison(result, _page(result, axes))
        case Correlation():
            draw_correlation(result, "gap", _cells(axes, *grid_of_measures(result)))
        case _:
            raise TypeError(f"draw takes a result, got {type(result).__name__}")
    return axes


def _page(result: Comparison, axes: Axes) -> Page:
    """The differences in the place of one, or what is of the pairs where nothing else was measured."""
    return Page(_side_by_side(axes, len(result.pairs))) if result.measures else Page([], relations=axes)


def _side_by_side(axes: Axes, count: int) -> list[Axes]:
    """So many axes in the place of one."""
    axes.set_axis_off()
    return [axes.inset_axes((index / count, 0.0, 0.8 / count, 1.0)) for index in range(count)]


def _cells(axes: Axes, rows: int, columns: int) -> list[Axes]:
    """A grid of axes in the place of one, row by row."""
    axes.set_axis_off()
    width, height = 1 / columns, 1 / rows
    places = [(column * width, 1 - (row + 1) * height) for row in range(rows) for column in range(columns)]
    return [axes.inset_axes((x, y, 0.85 * width, 0.6 * height)) for x, y in places]
