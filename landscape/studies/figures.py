"""The figures of a store: which there are, and their files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from .. import draw, files
from ..draw.style import WIDTH
from ..errors import InputError
from ..results import (
    Density,
    Eigenpairs,
    Sweep,
    Trace,
    Tracked,
    Training,
    Updates,
)
from ..store import Entry, Store
from .comparison_figures import comparison_figures
from .correlation_figures import correlation_figures
from .labelled import by_label
from .noise_figures import noise_figures
from .sharpness_figures import sharpness_figures
from .slice_figures import slice_figures

FORMATS = ("pdf", "png")
# No time stamps: the same results give the same bytes.
METADATA: dict[str, dict[str, Any]] = {"pdf": {"CreationDate": None}, "png": {}}


def draw_store(path: str | Path, folder: str | Path, *, kinds: tuple[str, ...] = ()) -> list[Path]:
    """Draws all that a store holds into PDF and PNG files in `folder`; returns their paths.

    Minima of one kind of result share a figure and a scale. Raises InputError where there is nothing to draw.
    """
    entries = [e for e in Store(path).entries() if not kinds or e.result.kind in kinds]
    if not entries:
        raise InputError(f"{path} holds no results{f' of kind {kinds[0]}' if kinds else ''} to draw")
    written = []
    with draw.style():
        for name, figure in figures(entries):
            for form in FORMATS:
                target = Path(folder) / f"{name}.{form}"
                image = BytesIO()
                figure.savefig(image, format=form, metadata=METADATA[form])
                files.write_atomically(target, image.getvalue())
                written.append(target)
            plt.close(figure)
    return written


def figures(entries: list[Entry]) -> Iterator[tuple[str, Figure]]:
    """Name and figure of each drawing that the entries allow."""
    runs = by_label(entries, Training)
    if runs:
        figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 2.3))
        draw.draw_training(runs, *axes)
        yield "training", figure
    updates = by_label(entries, Updates)
    if updates:
        figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 2.3))
        draw.draw_updates(updates, *axes)
        yield "updates", figure
    sweeps = by_label(entries, Sweep)
    if sweeps:
        figure, axes = plt.subplots(2, 2, figsize=(WIDTH, 4.2))
        draw.draw_sweep(sweeps, list(axes.flat))
        yield "sweep", figure
    for measure in sorted({e.result.measure for e in entries if isinstance(e.result, Tracked)}):
        chosen = by_label([e for e in entries if getattr(e.result, "measure", "") == measure], Tracked)
        if measure == "noise":
            figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 2.5))
            draw.draw_tracked_noise(chosen, *axes)
            yield "tracked-noise", figure
            continue
        yield f"tracked-{measure}", _single(lambda axes, chosen=chosen: draw.draw_tracked(chosen, axes))
        if measure == "sharpness":
            figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 2.5))
            draw.draw_tracked_along(chosen, *axes)
            yield "tracked-sharpness-loss", figure
    pairs = by_label(entries, Eigenpairs)
    if pairs:
        yield "eigenvalues", _single(lambda axes: draw.draw_eigenvalues(pairs, axes))
    traces = by_label(entries, Trace)
    if traces:
        yield "trace", _single(lambda axes: draw.draw_trace(traces, axes))
    densities = by_label(entries, Density)
    if densities:
        yield "density", _single(lambda axes: draw.draw_density(densities, axes))
    yield from sharpness_figures(entries)
    yield from noise_figures(entries)
    yield from slice_figures(entries)
    yield from comparison_figures(entries)
    yield from correlation_figures(entries)


def _single(paint: Callable[..., None]) -> Figure:
    figure, axes = plt.subplots(figsize=(0.75 * WIDTH, 2.6))
    paint(axes)
    return figure
