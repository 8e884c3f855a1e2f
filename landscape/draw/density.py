"""Spectral densities of several minima on one scale."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes

from ..results import Density
from .style import COLOURS, matrices

WIDTH = 0.02  # standard deviation of the Gaussian that smooths, in units of the axis's length
POINTS = 600
DECADES = 4  # of the eigenvalues that are shown around zero
FLOOR = 0.02  # eigenvalues a unit of the axis below which nothing is drawn


def draw_density(densities: Mapping[str, Density], axes: Axes) -> None:
    """Number of eigenvalues a unit of the axis, smoothed by a Gaussian; the band is the spread over probes.

    Both axes are logarithmic (the first through zero): a spectrum spans many decades in value and in number.
    """
    largest = max(float(np.abs(d.nodes).max()) for d in densities.values()) or 1.0
    linear = largest * 10.0**-DECADES
    low = min(float(_position(d.nodes, linear).min()) for d in densities.values())
    high = float(_position(np.array([largest]), linear)[0])
    width = WIDTH * (high - low)
    grid = np.linspace(low - 3 * width, high + 3 * width, POINTS)
    for index, (label, found) in enumerate(densities.items()):
        curves = found.num_params * smoothed(_position(found.nodes, linear), found.weights, grid, width)
        mean, spread = curves.mean(0), curves.std(0)
        colour = COLOURS[index % len(COLOURS)]
        axes.plot(_value(grid, linear), np.where(mean > FLOOR, mean, np.nan), color=colour, label=label)
        if len(curves) > 1:
            bounds = (np.maximum(mean - spread, FLOOR), np.maximum(mean + spread, FLOOR))
            axes.fill_between(_value(grid, linear), *bounds, color=colour, alpha=0.2, linewidth=0)
        axes.axvline(found.bulk_edge, color=colour, linewidth=0.8, linestyle=":")
    axes.plot([], [], color="0.4", linewidth=0.8, linestyle=":", label="edge of the bulk")
    axes.set_xscale("symlog", linthresh=linear, linscale=1 / np.log(10))
    axes.set_yscale("log")
    decades = np.arange(math.ceil(math.log10(linear)), math.floor(math.log10(largest)) + 1)[::-2]
    ticks = [s * 10.0**d for s in (-1, 1) for d in decades if low <= _position(np.array([s * 10.0**d]), linear)[0]]
    axes.set_xticks([0, *ticks])
    axes.minorticks_off()
    names = matrices(d.operator for d in densities.values())
    axes.set(xlabel=rf"eigenvalue of the {names}, $\lambda$", ylabel="eigenvalues per e-fold")
    axes.set_ylim(bottom=FLOOR)
    axes.legend()


def smoothed(nodes: np.ndarray, weights: np.ndarray, grid: np.ndarray, width: float) -> np.ndarray:
    """Density of each row of nodes on a grid: sum of weights times Gaussians of standard deviation `width`."""
    distance = (grid[None, None] - nodes[:, :, None]) / width
    return (weights[:, :, None] * np.exp(-(distance**2) / 2)).sum(1) / (width * np.sqrt(2 * np.pi))


def _position(values: np.ndarray, linear: float) -> np.ndarray:
    """Values on an axis that is logarithmic beyond `linear` and linear within, one unit an e-fold."""
    size = np.abs(values) / linear
    return np.sign(values) * np.where(size <= 1, size, 1 + np.log(np.maximum(size, 1)))


def _value(positions: np.ndarray, linear: float) -> np.ndarray:
    size = np.abs(positions)
    return np.sign(positions) * linear * np.where(size <= 1, size, np.exp(np.maximum(size, 1) - 1))
