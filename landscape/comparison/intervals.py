"""Intervals of means and of their differences: statistics alone.

An interval of level 1 - a holds the truth in a share 1 - a of repetitions of the measurement, for one number alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.stats

from ..errors import InputError
from ..results import Array


@dataclass(frozen=True)
class Interval:
    """A number with its interval, in the unit of the number; ends are nan where there is none."""

    value: float
    low: float
    high: float


UNKNOWN = Interval(math.nan, math.nan, math.nan)


def mean_interval(values: Array, level: float = 0.95) -> Interval:
    """The mean of independent draws, mean +- t s / sqrt(R) with R - 1 degrees of freedom (Student 1908).

    Draws are means over disjoint subsets of the samples, probes, or runs. Not finite: no value. One draw: no interval.
    """
    return with_error(*_mean_and_error(values), level, freedom=len(values) - 1)


def paired_difference(first: Array, second: Array, level: float = 0.95) -> Interval:
    """The mean of first - second over the same subsets or probes: the t interval of the differences (Student 1908).

    What the draws share, cancels: the interval is shorter than that of two unpaired means where they rise together.
    Raises InputError where the numbers of draws differ.
    """
    if len(first) != len(second):
        raise InputError(f"paired differences need as many draws on both sides, got {len(first)} and {len(second)}")
    return mean_interval(np.subtract(first, second, dtype=float), level)


def with_error(value: float, error: float, level: float = 0.95, freedom: float = math.inf) -> Interval:
    """value +- t error; the normal quantile where the error's degrees of freedom are infinite."""
    if not freedom > 0:
        return Interval(value, math.nan, math.nan)
    half = float(scipy.stats.t.ppf((1 + level) / 2, freedom)) * error
    return Interval(value, value - half, value + half)


def unpaired_difference(
    values: tuple[float, float],
    errors: tuple[float, float],
    level: float = 0.95,
    freedom: tuple[float, float] = (math.inf, math.inf),
) -> Interval:
    """first - second of two numbers with standard errors of their own, which are taken as independent (Welch 1947).

    The error is sqrt(e1^2 + e2^2), its degrees of freedom (e1^2 + e2^2)^2 / (e1^4/f1 + e2^4/f2) (Satterthwaite 1946).
    Probes that both share make the errors rise together as a rule; the interval is then too long rather than too short.
    """
    error, together = _together(errors, freedom)
    return with_error(values[0] - values[1], error, level, together)


def welch(first: Array, second: Array, level: float = 0.95) -> tuple[Interval, float]:
    """first - second of the means of two groups of runs, with the two-sided p value (Welch 1947).

    Neither sizes nor variances need be equal. Groups of one run: no interval, p is nan.
    """
    (mean, error), (other, other_error) = _mean_and_error(first), _mean_and_error(second)
    freedom = (len(first) - 1.0, len(second) - 1.0)
    if min(freedom) < 1:
        return Interval(mean - other, math.nan, math.nan), math.nan
    found = unpaired_difference((mean, other), (error, other_error), level, freedom)
    combined, together = _together((error, other_error), freedom)
    if combined == 0:
        return found, math.nan if math.isnan(found.value) else float(found.value == 0)
    return found, float(2 * scipy.stats.t.sf(abs(found.value) / combined, together))


def _mean_and_error(values: Array) -> tuple[float, float]:
    draws = np.asarray(values, dtype=float)
    if not draws.size or not np.isfinite(draws).all():
        return math.nan, math.nan
    if draws.size == 1:
        return float(draws[0]), math.nan
    # of equal draws the mean is one of them and the error zero: sums in floating point would leave a rest of both
    if (draws == draws[0]).all():
        return float(draws[0]), 0.0
    return float(draws.mean()), float(draws.std(ddof=1)) / math.sqrt(draws.size)


def _together(errors: tuple[float, float], freedom: tuple[float, float]) -> tuple[float, float]:
    error = math.hypot(*errors)
    if not error > 0:
        return error, math.inf
    shares = sum((e / error) ** 4 / f for e, f in zip(errors, freedom, strict=True))
    return error, 1 / shares if shares > 0 else math.inf
