"""The figures of correlations: one for each study and what its measures are held against."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from .. import draw
from ..draw.correlation import grid_of
from ..draw.style import WIDTH
from ..results import Correlation
from ..results.correlation import TARGETS
from ..store import Entry
from .labelled import by_label

ROW, LEGEND = 1.6, 0.45  # inches of a row of panels, and of what lies below


def correlation_figures(entries: list[Entry]) -> Iterator[tuple[str, Figure]]:
    """Name and figure of each drawing."""
    studies = by_label(entries, Correlation)
    for label, found in studies.items():
        rows, columns = grid_of(found)
        for target in TARGETS:
            figure, panels = plt.subplots(rows, columns, figsize=(WIDTH, ROW * rows + LEGEND), squeeze=False)
            draw.draw_correlation(found, target, list(np.ravel(panels)))
            own = "" if len(studies) == 1 else f"-{label.replace(', ', '-')}"
            yield f"correlation-{target}{own}", figure
