"""Planes as surfaces in three dimensions, compared minima on one scale."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d import Axes3D

from ..results import Plane
from .plane import NUM_LEVELS, common_scale, grid_of, shown
from .style import LOSS_MAP


def draw_surfaces(planes: Mapping[str, Plane], figure: Figure) -> None:
    """One surface a minimum, on the same axes and colours; interpolated points included, missing ones are holes."""
    norm, _ = common_scale(list(planes.values()))
    logarithmic = isinstance(norm, LogNorm)
    low, high = float(norm.vmin or 0.0), float(norm.vmax or 1.0)
    limits = (np.log10(low), np.log10(high)) if logarithmic else (low, high)
    for index, (label, plane) in enumerate(planes.items()):
        panel = figure.add_subplot(*grid_of(len(planes)), index + 1, projection="3d", computed_zorder=False)
        assert isinstance(panel, Axes3D)
        loss = np.clip(shown(plane).filled(np.nan), low, high)
        height = np.log10(loss) if logarithmic else loss
        alpha, beta = np.meshgrid(plane.alpha, plane.beta, indexing="ij")
        panel.plot_surface(
            alpha, beta, height, cmap=LOSS_MAP, vmin=limits[0], vmax=limits[1], rcount=60, ccount=60, linewidth=0,
            antialiased=True, rasterized=True,
        )  # fmt: skip
        # the same levels and colours under every surface
        panel.contour(
            alpha,
            beta,
            height,
            levels=np.linspace(*limits, NUM_LEVELS),
            offset=limits[0],
            cmap=LOSS_MAP,
            vmin=limits[0],
            vmax=limits[1],
            linewidths=0.5,
            zorder=-1,
        )
        panel.set(xlabel=r"$\alpha$", ylabel=r"$\beta$", zlim=limits, title=label)
        panel.view_init(elev=28, azim=-60)
        panel.tick_params(labelsize=5, pad=-2)
        panel.xaxis.labelpad = panel.yaxis.labelpad = -8
    # In 3D an axis label would fall off the page's edge.
    title = r"height and colour: $\log_{10}$ loss" if logarithmic else "height and colour: loss"
    figure.text(0.5, 0.02, f"{title}, {next(iter(planes.values())).split}", ha="center", va="bottom")
