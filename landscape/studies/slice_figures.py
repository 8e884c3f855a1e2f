"""The figures of slices: which lines and planes share one, and the names of their files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from .. import draw
from ..draw.layers import grid_of
from ..draw.names import curve_of
from ..draw.plane import grid_of as panels_of
from ..draw.plane import plane_title
from ..draw.style import WIDTH
from ..results import LayerLines, Line, Path, Plane
from ..store import Entry

RANDOM = "random"


def slice_figures(entries: list[Entry]) -> Iterator[tuple[str, Figure]]:
    """Name and figure of each drawing of lines, layers, paths and planes that the entries allow."""
    yield from _lines(entries)
    for entry in entries:
        if isinstance(entry.result, LayerLines):
            rows, columns = grid_of(entry.result)
            figure, axes = plt.subplots(
                rows, columns, figsize=(WIDTH, 1.15 * rows + 0.65), sharex=True, sharey=True, squeeze=False
            )
            draw.draw_layers(entry.result, list(axes.flat))
            yield f"{entry.name}-{entry.label}", figure
        elif isinstance(entry.result, Path):
            figure, axes = plt.subplots(figsize=(0.75 * WIDTH, 2.9))
            draw.draw_path(entry.result, axes, straight=straight_of(entries, entry))
            yield f"{entry.name}-{entry.label}", figure
    for name, planes in grouped(entries).items():
        ending = name.removeprefix("plane")
        yield name, _planes(planes)
        rows, columns = panels_of(len(planes))
        figure = plt.figure(figsize=(WIDTH, rows * min(3.3, WIDTH / columns) + 0.3))
        draw.draw_surfaces(planes, figure)
        yield f"surface{ending}", figure


def _lines(entries: list[Entry]) -> Iterator[tuple[str, Figure]]:
    """A figure for each line, and one for all lines of a label that has several."""
    by_label: dict[str, list[Line]] = {}
    for entry in entries:
        if not isinstance(entry.result, Line):
            continue
        line = entry.result
        by_label.setdefault(entry.label, []).append(line)
        if line.eigenvalue is None:
            figure, axes = plt.subplots(figsize=(0.75 * WIDTH, 2.6))
            draw.draw_line(line, axes)
        else:
            figure, panels = plt.subplots(
                2, 1, figsize=(0.75 * WIDTH, 3.4), sharex=True, gridspec_kw={"height_ratios": [2.4, 1]}
            )
            draw.draw_line(line, *panels)
        yield f"{entry.name}-{entry.label}", figure
    for label, lines in by_label.items():
        if len(lines) > 1:
            with_accuracy = any(line.accuracy is not None for line in lines)
            count = 2 if with_accuracy else 1
            figure, axes = plt.subplots(1, count, figsize=(WIDTH * (1 + with_accuracy) / 2, 2.5), squeeze=False)
            draw.draw_lines(lines, *axes.flat)
            yield f"lines-{label}", figure


def straight_of(entries: list[Entry], path: Entry) -> Line | None:
    """The stored straight line between the minima of a path, as they are; preferably of the same split and policy."""
    wanted = path.result
    assert isinstance(wanted, Path)
    found = [
        entry.result
        for entry in entries
        if isinstance(entry.result, Line) and entry.label == path.label and curve_of(entry.result) == "linear"
        and "ends" in entry.result.direction and not entry.result.direction.get("align")
    ]  # fmt: skip
    return max(found, key=lambda line: (line.split == wanted.split, line.bn == wanted.bn), default=None)


def grouped(entries: list[Entry]) -> Mapping[str, Mapping[str, Plane]]:
    """Planes that share a figure and a scale, by label, by the name of the figure.

    Only planes of one kind of directions, one range and one split are alike. The only group, or the first of random
    directions, is `plane`; others are `plane-KIND`, with a number where a kind has several.
    """
    groups: dict[Any, list[tuple[Entry, Plane]]] = {}
    for entry in entries:
        if isinstance(entry.result, Plane):
            plane = entry.result
            extent = tuple(float(axis[i]) for axis in (plane.alpha, plane.beta) for i in (0, -1))
            groups.setdefault((_kind(plane), plane.split, extent), []).append((entry, plane))
    named: dict[str, Mapping[str, Plane]] = {}
    for (kind, *_), members in groups.items():
        name = "plane" if len(groups) == 1 or (kind == RANDOM and "plane" not in named) else f"plane-{kind}"
        count = 1
        while name in named:
            count += 1
            name = f"plane-{kind}-{count}"
        labels = [entry.label for entry, _ in members]
        named[name] = {
            entry.label if labels.count(entry.label) == 1 else f"{entry.label}, {entry.name}": plane
            for entry, plane in members
        }
    return named


def _kind(plane: Plane) -> str:
    """What the directions are, as part of a file's name."""
    return str(plane.direction.get("kind") or RANDOM).replace("/", "-").replace(" ", "-")


def _planes(planes: Mapping[str, Plane]) -> Figure:
    rows, columns = panels_of(len(planes))
    with_runs = any(plane.trajectory_alpha is not None for plane in planes.values())
    panel = min(3.0, 0.8 * WIDTH / columns) + 0.45 + (1.0 if with_runs else 0.0)
    width = WIDTH if columns > 1 else 0.8 * WIDTH
    lines = max(plane_title(plane, narrow=len(planes) > 1).count("\n") for plane in planes.values())
    figure = plt.figure(figsize=(width, rows * (panel + 0.15 * lines)))
    draw.draw_planes(planes, figure)
    return figure
