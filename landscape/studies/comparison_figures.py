"""The figures of comparisons: a page each."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from .. import draw
from ..results import Comparison
from ..store import Entry


def comparison_figures(entries: list[Entry]) -> Iterator[tuple[str, Figure]]:
    """Name and figure of each comparison."""
    found = [entry.result for entry in entries if isinstance(entry.result, Comparison)]
    for index, comparison in enumerate(found):
        figure = plt.figure()
        draw.draw_comparison(comparison, draw.comparison_page(comparison, figure))
        yield "comparison" if index == 0 else f"comparison-{index + 1}", figure
