"""The law of errors: squared errors of batch gradients over the batch size, against what the covariance predicts."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from ..results import BatchErrors
from ..results.base import Array
from .style import COLOURS, look

POINTS = 400  # of a curve
LOW = 0.3  # of the least number shown, where the axis begins


def draw_batch_errors(found: BatchErrors, axes: Axes) -> None:
    """E|g_B - g|^2 over the batch size with and without replacement, both logarithmic, with its two laws.

    Bars are one standard error; what has none above zero, as all samples without replacement, has no point. Dotted: the
    squared norm of the gradient, and where the law crosses it: the batch size whose noise is as large as the gradient.
    """
    count, trace = found.num_samples, found.trace_covariance
    size = np.geomspace(found.batch_size.min(), count, POINTS)
    finite = trace / size * (count - size) / (count - 1)
    axes.plot(size, trace / size, color=look(0)["color"], label=r"tr $\Sigma_N$ / B", zorder=1)
    below = finite > 0
    law = r"tr $\Sigma_N$ / B $\cdot$ (N - B)/(N - 1)"
    axes.plot(size[below], finite[below], color=look(1)["color"], linestyle="--", label=law, zorder=1)
    measured = (found.with_replacement, found.with_replacement_stderr, "with replacement")
    apart = (found.without_replacement, found.without_replacement_stderr, "without replacement")
    shown = []
    for index, (error, stderr, name) in enumerate((measured, apart)):
        kept = error > 0
        _bars(axes, found.batch_size[kept], error[kept], stderr[kept], name, index)
        shown.append(error[kept])
    level = found.mean_gradient_norm_squared
    crossing = trace / level if level > 0 else np.inf
    numbers = [*np.concatenate(shown), trace / count, *([level] if level > 0 else [])]
    lowest = float(np.min(numbers))
    if level > 0:
        dotted = {"color": COLOURS[2], "linestyle": ":", "linewidth": 1.0}
        axes.axhline(level, label=r"$|g|^2$", **dotted)
        if found.batch_size.min() <= crossing <= count:
            axes.plot([crossing, crossing], [lowest * LOW, level], **dotted)
            axes.plot(crossing, level, "o", color=COLOURS[2], markersize=5, markerfacecolor="white", zorder=4)
            text = f"B = {float(f'{crossing:.3g}'):g} "
            axes.text(crossing, lowest * LOW * 1.1, text, color=COLOURS[2], fontsize=7, ha="right", va="bottom")
    axes.set(xscale="log", yscale="log", xlabel="batch size B", ylabel=r"$E\,|g_B - g|^2$ (loss$^2$ / param$^2$)")
    axes.set_ylim(bottom=lowest * LOW)
    axes.legend()


def _bars(axes: Axes, size: Array, error: Array, stderr: Array, name: str, index: int) -> None:
    """Points with bars, which end above zero."""
    bars = np.array([np.minimum(stderr, 0.9 * error), stderr])
    axes.errorbar(
        size, error, yerr=bars, label=name, linestyle="none", elinewidth=0.8, capsize=1.5, markersize=3.5, zorder=3,
        markerfacecolor="white" if index else None, color=look(index)["color"], marker=look(index)["marker"],
    )  # fmt: skip
