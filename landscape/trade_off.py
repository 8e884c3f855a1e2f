"""The trade-off of updates and samples to one loss by batch size: when a run reaches it, the law, its fit.

    (S / S_min - 1) (E / E_min - 1) = 1, E = B S, so S = S_min (1 + b / B), E = E_min (1 + B / b), b = E_min / S_min

of S updates and E samples at batch size B; b is the critical batch size (McCandlish et al. 2018, section 2.3).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.optimize
import scipy.stats

from .errors import InputError
from .results import Array

FEWEST = 3  # batch sizes, for two numbers and a misfit
REACH = 12.0  # natural logs beyond the batch sizes up to which b is looked for: there the law is its limit to 1e-5
GRID = 4001  # values of log b
SLOPES = (-0.8, -0.2)  # d log S / d log B between the regimes: four fifths of halving, and of no effect


@dataclass(frozen=True)
class Estimate:
    """A number with its interval; None for what has no bound above zero or below infinity."""

    value: float | None
    low: float | None
    high: float | None

    @property
    def bounded(self) -> bool:
        """Whether it is known on both sides."""
        return None not in (self.value, self.low, self.high)


@dataclass(frozen=True)
class Law:
    """The fitted law; `misfit` is the root mean square of its residuals in log updates."""

    s_min: Estimate
    e_min: Estimate
    b_crit: Estimate
    misfit: float


def crossing(loss: Array, target: float) -> float:
    """Where a logged loss first comes down to the target, as a position between rows; nan where it never does.

    Between two rows log loss is taken as linear, or the loss where it is not positive. 0 where the first row is there.
    """
    there = np.flatnonzero(loss <= target)
    if not there.size:
        return math.nan
    row = int(there[0])
    if row == 0:
        return 0.0
    before, after, at = float(loss[row - 1]), float(loss[row]), target
    if min(before, after, at) > 0:
        before, after, at = math.log(before), math.log(after), math.log(at)
    return row - 1 + (before - at) / (before - after)


def fit(batch_size: Array, updates: Array, level: float = 0.95) -> Law:
    """The law by least squares in log updates, with intervals of its three numbers.

    log S = log S_min + log(1 + b / B), two numbers. An interval holds what a t-quantile cannot tell from the best fit:
    where the least sum of squares with that number is within 1 + t^2 / (m - 2) of the least of all, over m batch sizes
    (profile t, Bates & Watts 1988, chapter 6). It knows that the law may bend no further: where data show
    one regime alone, an end is None, zero or infinity. It counts spread over seeds and misfit of the law alike, since
    both are in the residuals. Costs milliseconds. Raises InputError for fewer than 3 batch sizes.
    """
    if len(batch_size) < FEWEST:
        raise InputError(f"the fit needs {FEWEST} batch sizes, got {len(batch_size)}; train more")
    size, y = np.log(batch_size), np.log(updates)

    def shape(log_b: Array | float) -> Array:
        return np.logaddexp(0.0, np.subtract.outer(log_b, size))

    def squares(log_b: Array | float) -> Array:
        rest = y - shape(log_b)
        return np.square(rest - rest.mean(-1, keepdims=True)).sum(-1)

    ends = float(size.min() - REACH), float(size.max() + REACH)
    grid = np.linspace(*ends, GRID)
    start = int(squares(grid)[1:-1].argmin()) + 1
    near = (float(grid[start - 1]), float(grid[start + 1]))
    best = float(scipy.optimize.minimize_scalar(squares, bounds=near, method="bounded", options={"xatol": 1e-12}).x)  # pyright: ignore[reportAttributeAccessIssue]
    least = float(squares(best))
    freedom = len(size) - 2
    quantile = float(scipy.stats.t.ppf((1 + level) / 2, freedom))
    most = least * (1 + quantile**2 / freedom)
    grid = np.sort(np.append(grid, best))
    inside = np.flatnonzero(squares(grid) <= most)

    def end(outside: int, within: int) -> float | None:
        if not 0 <= outside < len(grid):
            return None
        return float(scipy.optimize.brentq(lambda b: float(squares(b)) - most, grid[outside], grid[within]))  # pyright: ignore[reportArgumentType]

    low, high = end(inside[0] - 1, inside[0]), end(inside[-1] + 1, inside[-1])
    within = np.linspace(ends[0] if low is None else low, ends[1] if high is None else high, GRID)
    level_s = (y - shape(within)).mean(-1)
    slack = np.sqrt(np.maximum(most - squares(within), 0) / len(size))
    s_min = float((y - shape(best)).mean())
    at_end = [start <= 1, start >= GRID - 2]  # S hardly depends on B; S halves wherever B doubles
    return Law(
        s_min=_estimate(
            None if at_end[1] else s_min,
            None if high is None else float((level_s - slack).min()),
            float((level_s + slack).max()),
        ),
        e_min=_estimate(
            None if at_end[0] else s_min + best,
            None if low is None else float((level_s - slack + within).min()),
            float((level_s + slack + within).max()),
        ),
        b_crit=_estimate(None if any(at_end) else best, low, high),
        misfit=math.sqrt(least / len(size)),
    )


def _estimate(value: float | None, low: float | None, high: float | None) -> Estimate:
    return Estimate(*(None if log is None else math.exp(log) for log in (value, low, high)))


def regimes(batch_size: Array, law: Law) -> Array:
    """The regime of each batch size (Shallue et al. 2019, section 4.1) by the slope of the fitted law there.

    d log S / d log B = -1 / (1 + B / b): 1, perfect scaling, up to -.8 (B <= b/4): to double B nearly halves S; 3,
    maximal data parallelism, from -.2 on (B >= 4 b): a larger B hardly helps; 2, diminishing returns, between.
    """
    if law.b_crit.value is None:
        return np.full(len(batch_size), 1 if law.s_min.value is None else 3, dtype=np.uint8)
    slope = -1 / (1 + batch_size / law.b_crit.value)
    return np.where(slope <= SLOPES[0], 1, np.where(slope < SLOPES[1], 2, 3)).astype(np.uint8)
