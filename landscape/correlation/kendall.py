"""Kendall's tau between a measure and a target over many runs, with an interval over the settings of these runs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.stats

from ..results import Array

FEWEST_RUNS = 3  # of two, tau is 1 or -1 whatever they are
FEWEST_SETTINGS = 5  # of fewer, the interval holds nearly all there is: 4 that agree leave -.5 to 1


@dataclass(frozen=True)
class Tau:
    """tau with its interval, nan where there is none; `reason` says why not."""

    tau: float
    low: float = math.nan
    high: float = math.nan
    reason: str = ""


def rank_correlation(measure: Array, target: Array, setting: Array, level: float = 0.95) -> Tau:
    """Kendall's tau-b of measure and target, both (runs,), with an interval over settings.

    tau = (C - D) / sqrt((C + D + T) (C + D + U)) over all pairs of runs: C in one order in both, D in opposite orders,
    T and U tied in one of them (Kendall 1945). `setting` (runs,) numbers the hyper-parameters of each run: runs that
    differ in their seed alone share one, and count as one draw together. The error of tau is the jackknife's over
    settings, each left out with all its runs (Arvesen 1969, of U-statistics); the interval is symmetric in atanh tau
    (Fieller, Hartley & Pearson 1957), with the t quantile of settings - 1 degrees of freedom. Where all pairs agree
    nothing shows an error: then floor(G/2) disjoint pairs of the G settings all agree, which bounds tau exactly.

    Settings of a grid are no random draw: the interval says how much tau hangs on which of them were trained. None of
    it comes of fewer than 5 settings; fewer than 3 runs, or a constant, have no tau. Cost: a sort for each setting.
    """
    settings = np.unique(setting)
    if len(measure) < FEWEST_RUNS:
        return Tau(math.nan, reason=f"{len(measure)} runs have a value, a correlation takes {FEWEST_RUNS}")
    tau = _tau(measure, target)
    if math.isnan(tau):
        what = "the measure" if np.ptp(measure) == 0 else "the target"
        return Tau(math.nan, reason=f"{what} has one value at all {len(measure)} runs")
    if len(settings) < FEWEST_SETTINGS:
        few = f"not resolved: {len(settings)} settings beside seeds, an interval takes {FEWEST_SETTINGS}"
        return Tau(tau, reason=few)
    if abs(tau) == 1:
        bound = min(1.0, 1 - 2 * ((1 - level) / 2) ** (1 / (len(settings) // 2)))
        return Tau(tau, -1.0, bound) if tau < 0 else Tau(tau, -bound, 1.0)
    without = np.array([_tau(measure[setting != one], target[setting != one]) for one in settings])
    if np.isnan(without).any():
        return Tau(tau, reason="not resolved: without one of the settings there is no correlation at all")
    count = len(settings)
    error = math.sqrt((count - 1) / count * float(np.square(without - without.mean()).sum()))
    half = float(scipy.stats.t.ppf((1 + level) / 2, count - 1)) * error / (1 - tau**2)
    return Tau(tau, math.tanh(math.atanh(tau) - half), math.tanh(math.atanh(tau) + half))


def _tau(measure: Array, target: Array) -> float:
    if np.ptp(measure) == 0 or np.ptp(target) == 0:
        return math.nan
    found: Any = scipy.stats.kendalltau(measure, target, method="asymptotic")
    tau = float(found.statistic)
    return round(tau) if abs(abs(tau) - 1) < 1e-12 else tau  # rounding of the square roots
