"""Sweeps: accuracy, gap, updates and seconds against the batch size, a line for each rule, a band over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator

from ..results import Sweep
from ..results.base import Array
from .style import look

BAND = 0.18  # opacity


def draw_sweep(sweeps: Mapping[str, Sweep], axes: Sequence[Axes]) -> None:
    """Four axes: test accuracy, train less test accuracy, updates, seconds, over the batch size (log 2).

    A point is the mean over seeds, the band reaches from the least to the largest of them. Runs that diverged or are
    still to do have no point; the legend counts them.
    """
    panels = {
        "test accuracy (%)": lambda s: s.test_accuracy * 100,
        "train - test accuracy (points)": lambda s: s.gap * 100,
        "updates": lambda s: s.updates,
        "training time (s)": lambda s: s.seconds,
    }
    for axis, (name, values) in zip(axes, panels.items(), strict=True):
        for index, (label, found) in enumerate(sweeps.items()):
            _band(axis, found.over_seeds(values(found)), _named(label, found), index)
        axis.set(xlabel="batch size", ylabel=name)
        sizes = sorted({int(size) for found in sweeps.values() for size in found.batch_size})
        if any(np.isfinite(line.get_ydata(orig=True)).any() for line in axis.get_lines()):  # else there is no scale
            axis.set_xscale("log", base=2)
            if name in ("updates", "training time (s)"):
                axis.set_yscale("log", nonpositive="mask")
                axis.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
                axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_xticks(sizes, [str(size) for size in sizes], rotation=45 if len(sizes) > 5 else 0)
        axis.minorticks_off()
    axes[0].legend()


def _band(axis: Axes, by_size: Mapping[int, Array], label: str, index: int) -> None:
    kept = {size: values[np.isfinite(values)] for size, values in by_size.items()}
    sizes = [size for size, values in kept.items() if values.size]
    means = [float(kept[size].mean()) for size in sizes]
    axis.plot(sizes or [np.nan], means or [np.nan], label=label, **look(index))
    if any(kept[size].size > 1 for size in sizes):
        low, high = ([float(f(kept[size])) for size in sizes] for f in (np.min, np.max))
        axis.fill_between(sizes, low, high, color=look(index)["color"], alpha=BAND, linewidth=0)


def _named(label: str, found: Sweep) -> str:
    """The label of a line: the rule and how many runs have no point."""
    diverged = int((found.run_status == 2).sum())
    notes = [f"{diverged} diverged"] if diverged else []
    notes += [f"{found.missing} to do"] if found.missing else []
    return f"{label} ({', '.join(notes)})" if notes else label
