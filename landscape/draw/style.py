"""The common look: Okabe-Ito colours with a marker and a dash each, paper widths, embedded fonts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
from matplotlib.artist import Artist
from matplotlib.axes import Axes

WIDTH = 5.5  # inches, the text width of NeurIPS and ICLR
CHARACTER, HANDLE = 3.9, 36.0  # points that a character of the legend takes, and all else of an entry

# Okabe & Ito (2008), distinguishable with any colour vision; yellow left out, too light on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LOSS_MAP = "viridis"

_SETTINGS: dict[Any, Any] = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.3,
    "lines.markersize": 4,
    "figure.constrained_layout.use": True,
    "figure.dpi": 150,
    "savefig.dpi": 300,
    # TrueType inside PDF and PS: journals refuse Type 3 fonts
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    "svg.hashsalt": "landscape",
}


@contextmanager
def style() -> Iterator[None]:
    """matplotlib's settings for all figures, put back after; figures made inside are closed."""
    open_before = set(plt.get_fignums())
    with matplotlib.rc_context(_SETTINGS):
        try:
            yield
        finally:
            for number in set(plt.get_fignums()) - open_before:
                plt.close(number)


def legend_below(axes: Axes, handles: Sequence[Artist], labels: Sequence[str]) -> None:
    """A legend under the whole figure, in as many columns as its width takes."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    room, widths = 72 * figure.get_figwidth(), [CHARACTER * len(label) + HANDLE for label in labels]
    columns = len(labels) if sum(widths) < room else max(1, int(room // max(widths)))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns)


# How the operators are called in a sentence.
OPERATORS = {
    "hessian": "Hessian",
    "ggn": "Gauss-Newton matrix",
    "fisher": "Fisher matrix",
    "fisher-mc": "Fisher matrix (drawn targets)",
    "empirical-fisher": "empirical Fisher matrix",
    "gradient-covariance": "gradient covariance",
}

# How the measures of sharpness are called in a sentence.
MEASURES = {
    "keskar": "Keskar's sharpness",
    "sam": "SAM sharpness",
    "sam-adaptive": "adaptive SAM sharpness",
    "worst": "worst-case sharpness",
    "worst-adaptive": "adaptive worst-case sharpness",
    "average": "average-case sharpness",
    "average-adaptive": "adaptive average-case sharpness",
    "pac-bayes": "PAC-Bayes radius",
    "pac-bayes-adaptive": "adaptive PAC-Bayes radius",
    "eigenvalue": "largest eigenvalue of the Hessian",
    "trace": "trace of the Hessian",
    "frobenius": "Frobenius norm of the Hessian",
    "filter-eigenvalue": "filter-normalised largest eigenvalue",
    "filter-trace": "filter-normalised trace",
    "relative-flatness": "relative flatness",
    "fisher-rao": "Fisher-Rao norm",
    "occam": "log Occam factor",
    "log-evidence": "log evidence",
}


def matrices(names: Iterable[str]) -> str:
    """The operators of these names, for the label of an axis."""
    return " / ".join(OPERATORS.get(name, name) for name in sorted(set(names)))


def look(index: int) -> dict[str, Any]:
    """Colour and marker of the index-th label, the same in every figure."""
    return {"color": COLOURS[index % len(COLOURS)], "marker": MARKERS[index % len(MARKERS)]}
