"""Traces by param tensor."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes

from ..results import Trace
from .style import look, matrices


def draw_trace(traces: Mapping[str, Trace], axes: Axes) -> None:
    """The part of the trace of each param tensor, with standard errors; the whole trace where there are no parts."""
    smallest = np.inf
    for index, (label, found) in enumerate(traces.items()):
        values, errors, names = np.array([found.value]), np.array([found.stderr]), ["all params"]
        if found.layer_value is not None and found.layer_stderr is not None:
            values, errors, names = found.layer_value, found.layer_stderr, list(found.layers)
        place = np.arange(len(values)) + (index - (len(traces) - 1) / 2) * 0.15
        axes.errorbar(place, values, yerr=errors, linestyle="", label=label, **look(index))
        crowded = len(names) > 4
        axes.set_xticks(range(len(names)), names, rotation=45 if crowded else 0, ha="right" if crowded else "center")
        smallest = min(smallest, values.min())
    if smallest > 0:
        axes.set_yscale("log")
    axes.set(xlabel="param tensor", ylabel=f"trace of the {matrices(t.operator for t in traces.values())}")
    # above the axes: parts of all sizes leave no corner free
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(traces))
