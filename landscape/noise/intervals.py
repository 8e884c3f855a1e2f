"""Intervals of a ratio of two estimates."""

from __future__ import annotations

import math

from scipy import stats


def fieller(
    numerator: float, denominator: float, variances: tuple[float, float], covariance: float, level: float, freedom: int
) -> tuple[float, float]:
    """Ends of the interval of a ratio a/b of positive numbers, from estimates of both (Fieller 1954).

    All r with (a - r b)^2 <= t^2 (V_a - 2 r V_ab + r^2 V_b), of which r >= 0 are kept; t the quantile of Student's law
    at `freedom`. The upper end is inf where b cannot be told from zero: what is left then says how small r may be. An
    estimate of b below zero, where b cannot be, is taken as zero, which lets the lower end fall, never rise.
    """
    denominator = max(denominator, 0.0)
    t = float(stats.t.ppf((1 + level) / 2, freedom))
    square = denominator**2 - t * t * variances[1]
    half = numerator * denominator - t * t * covariance
    rest = numerator**2 - t * t * variances[0]
    discriminant = half**2 - square * rest
    if square > 0:
        root = math.sqrt(max(discriminant, 0.0))
        return max((half - root) / square, 0.0), max((half + root) / square, 0.0)
    if rest <= 0:  # zero is among them
        return 0.0, math.inf
    # all but what lies between a negative root and a positive one; b exactly zero and known has no finite ratio
    return ((half - math.sqrt(discriminant)) / square if square < 0 else math.inf), math.inf
