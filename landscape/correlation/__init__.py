"""Do measures follow generalisation? Rank correlations over runs with intervals, and by hyper-parameter. No torch."""

from .granulated import axes_of, granulated, numbered
from .kendall import FEWEST_RUNS, FEWEST_SETTINGS, Tau, rank_correlation
from .together import GRANULATED, correlations

__all__ = [
    "FEWEST_RUNS",
    "FEWEST_SETTINGS",
    "GRANULATED",
    "Tau",
    "axes_of",
    "correlations",
    "granulated",
    "numbered",
    "rank_correlation",
]
