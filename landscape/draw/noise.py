"""Noise scales of several points with their intervals, and the signal and the noise of each param tensor."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from ..results import GradientNoise
from .style import look

BEYOND = 4.0  # times the largest number shown, where an interval without an end leaves the axes


def draw_noise(found: Mapping[str, GradientNoise], scales: Axes, layers: Axes) -> None:
    """Left a row for each point: b_simple with its interval, b_noise below it; right the parts of the tensors.

    An interval without an upper end, or with zero as the lower, runs to an arrow at the edge; an estimate that is not
    resolved has no marker. The batch size of training, where it is known, is a bar. Right: the norm of the mean over
    the noise of a sample, by tensor, in the colours of the rows; a mean over N samples that is noise alone has
    1/sqrt(N).
    """
    numbers = [n for result in found.values() for n in _numbers(result)]
    edge, begin = BEYOND * max(numbers, default=1.0), min(numbers, default=0.1) / 2
    for index, (label, result) in enumerate(found.items()):
        style = look(index)
        row = -index
        _interval(scales, row, result.b_simple, result.b_simple_low, result.b_simple_high, (begin, edge), style)
        if result.b_noise_low is not None:
            hollow = {**style, "markerfacecolor": "white"}
            _interval(
                scales, row - 0.25, result.b_noise, result.b_noise_low, result.b_noise_high, (begin, edge), hollow
            )
        if result.batch_size is not None:
            scales.plot([result.batch_size] * 2, [row - 0.35, row + 0.2], color="0.4", linewidth=1.5)
        signal = np.where(np.isfinite(result.layer_signal_to_noise), result.layer_signal_to_noise, np.nan)
        layers.plot(range(len(signal)), signal, label=label, **{**style, "linewidth": 0.8})
    scales.set_xscale("log")
    scales.set_xlim(begin, edge)
    scales.set_yticks([-index for index in range(len(found))], list(found))
    scales.set_ylim(-len(found) + 0.4, 0.5)
    scales.set_xlabel("noise scale (samples)")
    _legend(scales, list(found.values()))
    longest = max(found.values(), key=lambda result: len(result.layers))
    crowded = len(longest.layers) > 4
    step = max(1, -(-len(longest.layers) // 12))
    layers.set_xticks(
        range(0, len(longest.layers), step),
        longest.layers[::step],
        rotation=45 if crowded else 0,
        ha="right" if crowded else "center",
    )
    layers.set_ylabel(r"$|g|\,/\,\sqrt{\mathrm{tr}\,\Sigma}$ by param tensor")
    if all((result.layer_signal_to_noise > 0).all() for result in found.values()):
        layers.set_yscale("log")
        layers.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        layers.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        layers.yaxis.set_minor_formatter(NullFormatter())
    counts = {result.num_samples for result in found.values()}
    for count in counts:
        layers.axhline(count**-0.5, color="0.5", linestyle=":", linewidth=0.8, zorder=0)
    layers.legend(
        handles=[Line2D([], [], color="0.5", linestyle=":", linewidth=0.8, label=r"noise alone, $1/\sqrt{N}$")],
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
    )


def _numbers(result: GradientNoise) -> list[float]:
    values = (result.b_simple, result.b_simple_low, result.b_simple_high, result.b_noise, result.b_noise_high)
    more = (result.b_noise_low, result.batch_size)
    return [float(value) for value in (*values, *more) if value is not None and 0 < value < np.inf]


def _interval(
    axes: Axes,
    row: float,
    value: float | None,
    low: float,
    high: float | None,
    ends: tuple[float, float],
    style: dict[str, object],
) -> None:
    colour, (begin, edge) = style["color"], ends
    axes.plot([max(low, begin), edge if high is None else high], [row, row], color=colour, linewidth=1.2)
    for bounded, place, marker in ((low > 0, begin, "<"), (high is not None, edge, ">")):
        if not bounded:
            axes.plot([place], [row], marker=marker, color=colour, markersize=5, clip_on=False)
    if value is not None:
        axes.plot([value], [row], **{**style, "linestyle": "none"})


def _legend(axes: Axes, found: list[GradientNoise]) -> None:
    handles = [Line2D([], [], color="0.3", marker="o", label="$b_{simple}$")]
    if any(result.b_noise_low is not None for result in found):
        handles.append(Line2D([], [], color="0.3", marker="o", markerfacecolor="white", label="$b_{noise}$"))
    if any(result.batch_size is not None for result in found):
        handles.append(Line2D([], [], color="0.4", linewidth=1.5, label="$B$ of training"))
    axes.legend(
        handles=handles, loc="lower center", bbox_to_anchor=(0.3, 1.0), ncols=3, columnspacing=1.0, handlelength=1.4
    )
