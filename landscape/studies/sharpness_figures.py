"""The figures of sharpness: which minima and which series share one, and the names of their files."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from .. import draw
from ..draw.style import WIDTH
from ..results import Sharpness, SharpnessSeries
from ..results.sharpness import definition, options_of
from ..store import Entry


def sharpness_figures(entries: list[Entry]) -> Iterator[tuple[str, Figure]]:
    """Name and figure of each drawing of series and of single minima; what is a row of a series is drawn there."""
    yield from _series(entries)
    series = [entry.result for entry in entries if isinstance(entry.result, SharpnessSeries)]
    rows = {
        (name, found.measure, definition(found.options, found.settings)) for found in series for name in found.names
    }
    groups: dict[tuple[str, tuple[str, ...]], list[tuple[str, Sharpness]]] = {}
    for entry in entries:
        if isinstance(found := entry.result, Sharpness):
            words = definition(options_of(found), found.settings)
            if (entry.label, found.measure, words) not in rows:
                groups.setdefault((found.measure, words), []).append((entry.label, found))
    names = ["sharpness" + ("" if measure == "keskar" else f"-{measure}") for measure, _ in groups]
    for name, group in zip(_numbered(names), groups.values(), strict=True):
        figure, axes = plt.subplots(figsize=(0.75 * WIDTH, 2.6))
        draw.draw_sharpness(group, axes)
        yield name, figure


def _numbered(names: list[str]) -> list[str]:
    """The names with a number from the second of the same on: definitions and options have figures of their own."""
    counts = [names[: index + 1].count(name) for index, name in enumerate(names)]
    return [name + (f"-{count}" if count > 1 else "") for name, count in zip(names, counts, strict=True)]


def _series(entries: list[Entry]) -> Iterator[tuple[str, Figure]]:
    """A figure for all series of one measure with the same options against the same; a number tells options apart."""
    groups: dict[tuple[str, str], dict[str, SharpnessSeries]] = {}
    for entry in entries:
        if isinstance(found := entry.result, SharpnessSeries):
            words = definition(found.options, found.settings)
            options = repr((sorted(found.options.items()), words))
            group = groups.setdefault((f"series-{found.against}-{found.measure}", options), {})
            group[f"{entry.label}, {entry.name}" if entry.label in group else entry.label] = found
    for name, series in zip(_numbered([name for name, _ in groups]), groups.values(), strict=True):
        yield name, _drawn(series)


def _drawn(series: dict[str, SharpnessSeries]) -> Figure:
    if next(iter(series.values())).against == "epoch":
        figure, axes = plt.subplots(figsize=(0.75 * WIDTH, 2.6))
        draw.draw_series_along(series, axes)
    else:
        figure, panels = plt.subplots(1, 2, figsize=(WIDTH, 2.5))
        draw.draw_series(series, *panels)
    return figure
