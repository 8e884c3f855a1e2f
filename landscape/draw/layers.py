"""The loss where one layer at a time moves, a small panel for each layer."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from ..results import LayerLines
from .names import alpha_and_policy, unit_text
from .slices import band, hatch_missing, valued, wide
from .style import COLOURS

COLUMNS = 4
LONGEST = 22  # characters of a layer's name over a panel
ACCURACY_COLOUR, LOSS_COLOUR = COLOURS[1], COLOURS[0]


def grid_of(found: LayerLines) -> tuple[int, int]:
    """Rows and columns of panels."""
    count = len(found.layers)
    columns = min(COLUMNS, count)
    return math.ceil(count / columns), columns


def draw_layers(found: LayerLines, panels: Sequence[Axes]) -> None:
    """One panel a layer, on common axes: loss solid, on the test split dashed; grey is the loss at alpha = 0.

    `panels` are the cells of the grid `grid_of(found)`, row by row; those that are left over are hidden.
    """
    count, (_, columns) = len(found.layers), grid_of(found)
    loss = valued(found.loss, found.point_status)
    shown = [loss] if found.test_loss is None else [loss, valued(found.test_loss, found.point_status)]
    logarithmic = wide(shown)
    reference = _reference(found, loss)
    for index, panel in enumerate(panels):
        if index >= count:
            panel.set_axis_off()
            continue
        panel.set_title(_title(found, index), fontsize=7, linespacing=1.1)
        panel.tick_params(labelleft=index % columns == 0, labelbottom=index + columns >= count)
        if reference is not None:
            panel.axhline(reference, color="0.6", linewidth=0.7, label=r"loss at $\alpha = 0$")
        panel.plot(found.alpha, loss[index], color=LOSS_COLOUR, label=f"loss, {found.split}")
        band(found.alpha, loss[index], found.loss_stderr[index], panel, LOSS_COLOUR)
        if len(shown) > 1:
            panel.plot(found.alpha, shown[1][index], "--", color=LOSS_COLOUR, linewidth=0.9, label="loss, test")
        if logarithmic:
            panel.set_yscale("log")
        panel.set_xlim(found.alpha[0], found.alpha[-1])
        hatch_missing(found.alpha, found.point_status[index], panel)
    drawn = panels[:count]
    limits = [panel.get_ylim() for panel in drawn]
    for panel in drawn:
        panel.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))
    for panel in drawn[::columns]:
        panel.set_ylabel("loss")
    handles, labels = drawn[0].get_legend_handles_labels()
    # The title of the legend is the label of all x axes: one below each panel would leave no room for the panels.
    drawn[0].figure.legend(
        handles, labels, loc="outside lower center", ncols=len(handles), title=alpha_and_policy(found), title_fontsize=8
    )


def _reference(found: LayerLines, loss: np.ndarray) -> float | None:
    """The loss where no layer has moved."""
    at_zero = loss[:, np.abs(found.alpha) < 1e-9]
    finite = at_zero[np.isfinite(at_zero)]
    return float(finite[0]) if finite.size else None


def _title(found: LayerLines, index: int) -> str:
    name = found.layers[index]
    short = name if len(name) <= LONGEST else "…" + name[1 - LONGEST :]
    return short + "\n" + unit_text(float(found.unit_lengths[index])).strip(" ()")
