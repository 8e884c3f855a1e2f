"""Planes around minima: contours and surfaces, compared minima on one scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d import Axes3D

from ..results import DONE, NON_FINITE, Plane
from .style import LOSS_MAP

LOG_FROM = 100.0  # ratio of the largest to the smallest loss above which levels are spaced by their logarithm
NUM_LEVELS = 13


def draw_plane(plane: Plane, axes: Axes, *, norm: Normalize | None = None, levels: np.ndarray | None = None) -> None:
    """Filled contours with labelled lines; the minimum is marked, non-finite cells are hatched."""
    if norm is None or levels is None:
        norm, levels = common_scale([plane])
    loss = _shown(plane)
    alpha, beta = np.meshgrid(plane.alpha, plane.beta, indexing="ij")
    axes.contourf(alpha, beta, loss, levels=levels, norm=norm, cmap=LOSS_MAP)
    lines = axes.contour(alpha, beta, loss, levels=levels[::2], colors="white", linewidths=0.4)
    axes.clabel(lines, fmt=_short, fontsize=5)
    missing = plane.point_status == NON_FINITE
    if missing.any():
        axes.contourf(alpha, beta, missing, levels=[0.5, 1.5], colors="none", hatches=["////"])
    axes.plot(0, 0, marker="*", color="white", markeredgecolor="black", markeredgewidth=0.5, markersize=8)
    axes.set(xlabel=r"$\alpha$", ylabel=r"$\beta$", aspect="equal")


def draw_planes(planes: Mapping[str, Plane], figure: Figure) -> None:
    """One panel a minimum, side by side, with common levels and colours."""
    panels = np.atleast_1d(figure.subplots(1, len(planes), sharex=True, sharey=True))
    norm, levels = common_scale(list(planes.values()))
    for panel, (label, plane) in zip(panels, planes.items(), strict=True):
        draw_plane(plane, panel, norm=norm, levels=levels)
        count = int((plane.point_status == NON_FINITE).sum())
        panel.set_title(label + (f" ({count} points non-finite)" if count else ""))
        panel.label_outer()
    split = next(iter(planes.values())).split
    bar = figure.colorbar(panels[0].collections[0], ax=list(panels), shrink=0.75, pad=0.02, format=_short)
    bar.set_label(f"loss, {split}")


def draw_surfaces(planes: Mapping[str, Plane], figure: Figure) -> None:
    """One surface a minimum, on the same axes and colours."""
    norm, _ = common_scale(list(planes.values()))
    logarithmic = isinstance(norm, LogNorm)
    low, high = float(norm.vmin or 0.0), float(norm.vmax or 1.0)
    limits = (np.log10(low), np.log10(high)) if logarithmic else (low, high)
    for index, (label, plane) in enumerate(planes.items()):
        panel = figure.add_subplot(1, len(planes), index + 1, projection="3d", computed_zorder=False)
        assert isinstance(panel, Axes3D)
        loss = np.clip(_shown(plane).filled(np.nan), low, high)
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


def common_scale(planes: Sequence[Plane]) -> tuple[Normalize, np.ndarray]:
    """A colour scale and contour levels that all planes fit: by the logarithm where the losses span decades."""
    values = np.concatenate([plane.loss[plane.point_status == DONE] for plane in planes])
    low, high = float(values.min()), float(values.max())
    if low > 0 and high > LOG_FROM * low:
        low = max(low, high * 1e-6)
        return LogNorm(low, high), np.geomspace(low, high, NUM_LEVELS)
    high = high if high > low else low + 1.0
    return Normalize(low, high), np.linspace(low, high, NUM_LEVELS)


def _shown(plane: Plane) -> np.ma.MaskedArray:
    return np.ma.masked_where(plane.point_status != DONE, plane.loss)


def _short(value: float, _position: int = 0) -> str:
    return f"{value:.2g}"
