"""The figures of sharpness: which minima and which series share one, and the names of their files."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from .. import draw
from ..draw.style import WIDTH
from ..results import Sharpness, SharpnessSeries
from ..store import Entry


def sharpness_figures(entries: list[Entry]) -> Iterator[tuple[str, Figure]]:
    """Name and figure of each drawing of series and of single minima; what is a row of a series is drawn there."""
    yield from _series(entries)
    series = [entry.result for entry in entries if isinstance(entry.result, SharpnessSeries)]
    rows = {(name, found.measure) for found in series for name in found.names}
    alone = [
        (entry.label, entry.result)
        for entry in entries
        if isinstance(entry.result, Sharpness) and (entry.label, entry.result.measure) not in rows
    ]
    for measure in dict.fromkeys(found.measure for _, found in alone):
        figure, axes = plt.subplots(figsize=(0.75 * WIDTH, 2.6))
        draw.draw_sharpness([(label, found) for label, found in alone if found.measure == measure], axes)
        yield "sharpness" + ("" if measure == "keskar" else f"-{measure}"), figure


def _series(entries: list[Entry]) -> Iterator[tuple[str, Figure]]:
    """A figure for all series of one measure with the same options against the same; a number tells options apart."""
    groups: dict[tuple[str, str], dict[str, SharpnessSeries]] = {}
    for entry in entries:
        if isinstance(found := entry.result, SharpnessSeries):
            options = repr(sorted(found.options.items()))
            group = groups.setdefault((f"series-{found.against}-{found.measure}", options), {})
            group[f"{entry.label}, {entry.name}" if entry.label in group else entry.label] = found
    names = [name for name, _ in groups]
    for index, (name, series) in enumerate(zip(names, groups.values(), strict=True)):
        number = names[: index + 1].count(name)
        yield name + (f"-{number}" if number > 1 else ""), _drawn(series)


def _drawn(series: dict[str, SharpnessSeries]) -> Figure:
    if next(iter(series.values())).against == "epoch":
        figure, axes = plt.subplots(figsize=(0.75 * WIDTH, 2.6))
        draw.draw_series_along(series, axes)
    else:
        figure, panels = plt.subplots(1, 2, figsize=(WIDTH, 2.5))
        draw.draw_series(series, *panels)
    return figure
