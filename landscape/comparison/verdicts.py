"""The rule of verdicts: which label is higher, or why there is no saying."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..results import Array
from ..results.comparison import (
    FEWEST_SEEDS,
    FIRST,
    MAX_T,
    NONE,
    NOT_COMPARABLE,
    NOT_RESOLVED,
    PAIRED,
    SECOND,
    SEEDS,
    WELCH,
)
from .intervals import UNKNOWN, Interval
from .measured import Measured
from .together import MaxT, all_together

ROUNDING = 1e-5  # relative: float32 keeps 6e-8, and sums of thousands of samples in another order lose two digits


def verdict(difference: Interval, resolution: float, *, bounded: bool, p: float | None = None, level: float) -> int:
    """FIRST or SECOND where the difference is resolved, else NOT_RESOLVED.

    Resolved: the value lies beyond +- resolution, the interval beyond zero (where there is one: `bounded`), and the
    adjusted p, if there is one, is at most 1 - level. Both are asked, so that no verdict contradicts its interval.
    """
    if not abs(difference.value) > resolution or (p is not None and not p <= 1 - level):
        return NOT_RESOLVED
    ends = (difference.low, difference.high) if bounded else (difference.value, difference.value)
    return FIRST if ends[0] > 0 else SECOND if ends[1] < 0 else NOT_RESOLVED


@dataclass(frozen=True)
class Judged:
    """The difference of one measure of one pair, and what is said of it."""

    difference: Interval
    resolution: float
    p: float
    verdict: int
    reason: str


def judge(one: Measured, labels: Sequence[str], pair: tuple[int, int], level: float, adjusted: float | None) -> Judged:
    """One measure of one pair: the difference, the verdict, and why it is no more than that."""
    i, j = pair
    values = [one.of_label(at, level).value for at in pair]
    lacking = [labels[at] for at, value in zip(pair, values, strict=True) if not math.isfinite(value)]
    why = "; ".join(f"{label}: {one.reasons.get(label, 'no finite value')}" for label in lacking)
    if why:
        return Judged(UNKNOWN, math.nan, math.nan, NOT_COMPARABLE, why)
    difference, p = one.difference(i, j, level)
    rounding = ROUNDING * max(abs(value) for value in values)
    resolution = max(one.resolution, rounding)
    asked = adjusted if one.over == SEEDS else None
    found = verdict(difference, resolution, bounded=one.over != NONE, p=asked, level=level)
    # few subsets of few samples may have equal accuracies by chance: the t interval would take them for certain
    alike = asked is None and one.over != NONE and difference.high - difference.low <= rounding
    open_ends = [f"{labels[at]}: {one.unresolved[labels[at]]}" for at in pair if labels[at] in one.unresolved]
    found = NOT_RESOLVED if alike or open_ends else found
    if open_ends:
        reason = "; ".join(open_ends)
    elif found != NOT_RESOLVED:
        reason = ""
    elif not abs(difference.value) > resolution:
        reason = f"equal within {'rounding' if resolution == rounding else 'what the solver resolves'}"
    elif math.isnan(difference.low):
        reason = f"no interval: fewer than two {one.over}"
    elif alike:
        reason = f"all {one.over} differ alike: no spread to judge it by"
    elif asked is not None and (difference.low > 0 or difference.high < 0):
        reason = f"alone its interval leaves zero out, but p = {asked:.2g} over all measures together"
    else:
        reason = "the interval of the difference holds zero"
    return Judged(difference, resolution, p if asked is None else asked, found, reason)


def method_for(groups: Mapping[str, Sequence[str]] | None) -> str:
    """What verdicts follow from: groups of seeds need a few each to be exchanged."""
    if not groups:
        return PAIRED
    return MAX_T if min(len(paths) for paths in groups.values()) >= FEWEST_SEEDS else WELCH


def tested(rows: Sequence[Measured], i: int, j: int, seed: int) -> tuple[Array, MaxT]:
    """Adjusted p of every measure, nan for those that are no part of the test."""
    tested = [m for m, one in enumerate(rows) if one.over == SEEDS]
    sides = []
    for at in (i, j):
        runs = [np.asarray(draws[at], dtype=float) for m in tested if (draws := rows[m].draws) is not None]
        if len({len(values) for values in runs}) > 1:
            raise InputError(
                "max-T exchanges whole runs: give every measure a number of every run, nan where it has none"
            )
        sides.append(np.array(runs, dtype=float, ndmin=2))
    test = all_together(*sides, seed=seed)
    p = np.full(len(rows), np.nan)
    p[tested] = test.p
    return p, test
