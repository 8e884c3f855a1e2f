"""Sharpness against train loss: the two go together, so neither is shown alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter

from ..results import Sharpness
from .style import COLOURS, MARKERS, MEASURES

SYMBOLS = {"epsilon": r"$\epsilon$", "rho": r"$\rho$"}  # of radii


def draw_sharpness(measured: Sequence[tuple[str, Sharpness]], axes: Axes) -> None:
    """One measure of each minimum over its train loss, both logarithmic; colours by label, markers by radius.

    Bars are standard errors, where the measure has them.
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
    if all(found.loss > 0 and found.value > 0 for _, found in measured):
        axes.set(xscale="log", yscale="log")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_minor_formatter(NullFormatter())
    axes.margins(0.15)
    first = measured[0][1]
    axes.set(xlabel="train loss", ylabel=measure_label(first.measure, first.unit("value"), {"space": first.space}))
    axes.legend(loc="best")


def _radius(found: Sharpness) -> str:
    return radius_text({"epsilon": found.epsilon, "rho": found.rho})


def radius_text(options: Mapping[str, Any]) -> str:
    """The radius among the options of a measure, after a comma; empty where it has none."""
    given = [(symbol, options.get(name)) for name, symbol in SYMBOLS.items()]
    return "".join(f", {symbol} = {value:g}" for symbol, value in given if value is not None)


def measure_label(name: str, unit: str, options: Mapping[str, Any]) -> str:
    """A measure in words, with its radius, where it was searched and its unit, for an axis."""
    space = " in random subspaces" if options.get("space") == "random" else ""
    return f"{MEASURES.get(name, name)}{space}{radius_text(options)}" + ("" if unit == "1" else f"\n({unit})")
