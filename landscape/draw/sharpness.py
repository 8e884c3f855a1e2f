"""Sharpness against train loss: the two go together, so neither is shown alone."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter

from ..results import Sharpness
from .style import look


def draw_sharpness(measured: Sequence[tuple[str, Sharpness]], axes: Axes) -> None:
    """Each minimum's sharpness over its train loss, both logarithmic; one marker a label."""
    order = {label: index for index, label in enumerate(dict.fromkeys(label for label, _ in measured))}
    for label, found in measured:
        axes.plot(found.loss, found.value, linestyle="none", markersize=6, **look(order[label]))
        axes.annotate(
            f"{label} ($\\epsilon$ {found.epsilon:g})", (found.loss, found.value), xytext=(6, -8),
            textcoords="offset points", fontsize=6,
        )  # fmt: skip
    if all(found.loss > 0 and found.value > 0 for _, found in measured):
        axes.set(xscale="log", yscale="log")
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(0.25)
    axes.set(xlabel="train loss", ylabel="sharpness (Keskar et al., metric 2.1)")
