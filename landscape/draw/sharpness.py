"""Sharpness against train loss: the two go together, so neither is shown alone."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter

from ..results import Sharpness
from .style import COLOURS, MARKERS


def draw_sharpness(measured: Sequence[tuple[str, Sharpness]], axes: Axes) -> None:
    """Each minimum's sharpness over its train loss, both logarithmic; colours by label, markers by epsilon."""
    labels = list(dict.fromkeys(label for label, _ in measured))
    epsilons = sorted({found.epsilon for _, found in measured}, reverse=True)
    for label, found in measured:
        axes.plot(
            found.loss,
            found.value,
            linestyle="none",
            markersize=6,
            color=COLOURS[labels.index(label) % len(COLOURS)],
            marker=MARKERS[epsilons.index(found.epsilon) % len(MARKERS)],
            label=rf"{label}, $\epsilon$ = {found.epsilon:g}, {found.iterations} iterations",
        )
    if all(found.loss > 0 and found.value > 0 for _, found in measured):
        axes.set(xscale="log", yscale="log")
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(0.15)
    axes.set(xlabel="train loss", ylabel="sharpness (Keskar et al., metric 2.1)")
    axes.legend(loc="best")
