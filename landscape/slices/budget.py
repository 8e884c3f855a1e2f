"""How many samples a slice needs for its differences to be told from chance."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..results import DONE, LayerLines, Line, Plane

FIRST = 512  # samples of the first attempt
SHARE = 0.01  # of the range of the loss, below which the standard error of its differences shall be


def counts(total: int) -> Iterator[int]:
    """Numbers of samples to be tried: 512, twice as many each time, all. Each is the first of one permutation."""
    count = FIRST
    while count < total:
        yield count
        count *= 2
    yield total


def resolution(found: Line | Plane | LayerLines) -> float:
    """The largest standard error of a loss difference, as a share of the range of the loss; inf where unknown.

    max_i stderr(L_i - L_ref) / (max L - min L) over the points evaluated, all of which share their samples.
    """
    done = found.point_status == DONE
    if found.difference_stderr is None or not done.any():
        return float("inf")
    span = float(np.ptp(found.loss[done]))
    largest = float(found.difference_stderr[done].max())
    return largest / span if span > 0 and np.isfinite(largest) else float("inf")


def thinned(positions: list[float], most: int) -> list[float]:
    """At most so many of the positions, the ends among them."""
    chosen = np.unique(np.linspace(0, len(positions) - 1, min(most, len(positions))).round().astype(int))
    return [positions[i] for i in chosen]
