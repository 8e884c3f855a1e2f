"""The figures of gradient noise: moments at points, errors of batches, trade-offs, batch sizes."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from .. import draw
from ..draw.style import WIDTH
from ..results import BatchErrors, BatchSizes, GradientNoise, TradeOff
from ..store import Entry
from .labelled import by_label


def noise_figures(entries: list[Entry]) -> Iterator[tuple[str, Figure]]:
    """Name and figure of each drawing; points share one, as throughputs do, all else has one each."""
    points = by_label(entries, GradientNoise)
    if points:
        figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 1.4 + 0.45 * max(2, len(points))))
        draw.draw_noise(points, *axes)
        yield "noise", figure
    for index, errors in enumerate(by_label(entries, BatchErrors).values()):
        figure, axes = plt.subplots(figsize=(0.75 * WIDTH, 2.8))
        draw.draw_batch_errors(errors, axes)
        yield _numbered("batch-errors", index), figure
    for index, found in enumerate(by_label(entries, TradeOff).values()):
        figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 2.9))
        draw.draw_trade_off(found, *axes)
        yield _numbered("trade-off", index), figure
    sizes = by_label(entries, BatchSizes)
    if sizes:
        figure, axes = plt.subplots(1, 3, figsize=(WIDTH, 2.2 if len(sizes) == 1 else 2.4))
        draw.draw_batch_sizes(sizes, list(axes))
        yield "batch-size", figure


def _numbered(name: str, index: int) -> str:
    return name if index == 0 else f"{name}-{index + 1}"
