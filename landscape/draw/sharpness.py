"""Sharpness against the loss: the two go together, so neither is shown alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from ..results import Sharpness
from ..results.base import Array
from ..results.sharpness import definition, options_of
from .style import COLOURS, MARKERS, MEASURES

SHORT, LONG = 3.0, 20.0  # spans of an axis, below which decades hold too few ticks
LINE = 32  # characters of a line of an axis label, that a panel is high enough for
SYMBOLS = {"epsilon": r"$\epsilon$", "rho": r"$\rho$"}  # of radii


def draw_sharpness(measured: Sequence[tuple[str, Sharpness]], axes: Axes) -> None:
    """One measure, by one definition, of each minimum over its loss, both logarithmic.

    Colours by label, markers by radius; bars are standard errors, where the measure has them.
    """
    labels = list(dict.fromkeys(label for label, _ in measured))
    radii = list(dict.fromkeys(_radius(found) for _, found in measured))
    for label, found in measured:
        iterations = "" if found.iterations is None else f", {found.iterations} iterations"
        axes.errorbar(
            found.loss,
            found.value,
            yerr=found.stderr,
            linestyle="none",
            markersize=6,
            color=COLOURS[labels.index(label) % len(COLOURS)],
            marker=MARKERS[radii.index(_radius(found)) % len(MARKERS)],
            label=f"{label}{_radius(found)}{iterations}",
        )
    places, heights = (np.array([getattr(found, name) for _, found in measured]) for name in ("loss", "value"))
    if (places > 0).all() and (heights > 0).all():
        log_scale(axes.xaxis, places)
        log_scale(axes.yaxis, heights)
    axes.margins(0.15)
    first = measured[0][1]
    axes.set_xlabel(loss_label(first.settings))
    axes.set_ylabel(measure_label(first.measure, first.unit("value"), options_of(first), first.settings))
    axes.legend(loc="best")


def loss_label(settings: Mapping[str, Any]) -> str:
    """The objective that a measure is shown over, for an axis; of which split the samples are it does not know."""
    name = str(settings.get("loss", ""))
    suffix = " of normalized logits"
    return f"loss{suffix if name.endswith(suffix) else ''}{', penalty included' if settings.get('l2') else ''}"


def _radius(found: Sharpness) -> str:
    return radius_text({"epsilon": found.epsilon, "rho": found.rho})


def radius_text(options: Mapping[str, Any]) -> str:
    """The radius among the options of a measure, after a comma; empty where it has none."""
    given = [(symbol, options.get(name)) for name, symbol in SYMBOLS.items()]
    return "".join(f", {symbol} = {value:g}" for symbol, value in given if value is not None)


def measure_label(
    name: str, unit: str, options: Mapping[str, Any], settings: Mapping[str, Any], *, radius: bool = False
) -> str:
    """A measure in words for an axis: name, what its definition has that is not usual, unit; its radius if asked."""
    parts = [MEASURES.get(name, name), *definition(options, settings)]
    parts += [radius_text(options).removeprefix(", ")] if radius else []
    lines = [""]
    for part in filter(None, parts):
        longer = f"{lines[-1]}, {part}" if lines[-1] else part
        if lines[-1] and len(longer.replace("$", "").replace("\\", "")) > LINE:
            lines[-1] += ","
            lines.append(part)
        else:
            lines[-1] = longer
    return "\n".join([*lines, *([] if unit == "1" else [f"({unit})"])])


def log_scale(axis: Axis, values: Array) -> None:
    """A logarithmic axis where all values are positive, with numbers at its ticks however short it is."""
    if not values.size or not (values > 0).all():
        return
    (axis.axes.set_xscale if axis is axis.axes.xaxis else axis.axes.set_yscale)("log")
    low, high = float(values.min()), float(values.max())
    if high < SHORT * low:
        axis.set_major_locator(MaxNLocator(4))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))
    elif high < LONG * low:  # else decades alone say enough
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_minor_formatter(NullFormatter())
