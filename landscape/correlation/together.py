"""All measures of a table against all targets: correlations with intervals, coefficients, and why some are missing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..results import Array
from ..results.correlation import TARGETS, rounded
from .granulated import granulated
from .kendall import rank_correlation

GRANULATED = "granulated"  # among reasons: why there is no Psi, of a measure or at all
NO_PAIR = "no two runs of one seed that have a value differ in one hyper-parameter alone"


def correlations(
    measures: Mapping[str, Array],
    targets: Mapping[str, Array],
    setting: Array,
    axes: Mapping[str, Sequence[Any]],
    seed: Sequence[Any],
    level: float = 0.95,
) -> dict[str, Any]:
    """The fields of a `Correlation` that follow from its table: tau, intervals, psi, Psi, numbers of runs, reasons.

    measures, targets: (runs,) by name, nan where there is nothing; those runs are left out, measure by measure.
    `setting` and `seed` (runs,) as in `rank_correlation` and `granulated`; without `axes` there is no psi, nor where no
    measure has one. Targets are ranked as `rounded` gives them.
    """
    shape = (len(measures), len(TARGETS))
    tau, low, high, mean = (np.full(shape, math.nan) for _ in range(4))
    psi = np.full((*shape, len(axes)), math.nan)
    reasons: dict[str, Any] = {}
    runs, settings = np.zeros(len(measures), dtype=int), np.zeros(len(measures), dtype=int)
    for i, (name, values) in enumerate(measures.items()):
        has = np.isfinite(values)
        runs[i], settings[i] = has.sum(), len(np.unique(setting[has]))
        for j, target in enumerate(TARGETS):
            heights = rounded(targets[target])
            kept = np.flatnonzero(has & np.isfinite(heights)).tolist()
            found = rank_correlation(values[kept], heights[kept], setting[kept], level)
            tau[i, j], low[i, j], high[i, j] = found.tau, found.low, found.high
            if found.reason:
                reasons.setdefault(name, {})[target] = found.reason
            if axes:
                chosen = {axis: [column[k] for k in kept] for axis, column in axes.items()}
                psi[i, j], mean[i, j] = granulated(values[kept], heights[kept], chosen, [seed[k] for k in kept])
    parts: dict[str, Any] = {"psi": psi, "granulated": mean}
    lacking = [i for i, both in enumerate(mean) if np.isnan(both).any()]
    if len(lacking) == len(measures):
        parts = {"psi": None, "granulated": None}
        reasons |= {GRANULATED: NO_PAIR} if axes else {}
    else:
        names = list(measures)
        for i in lacking:
            if not np.isnan(tau[i]).all():  # where there is no tau its reason says why
                reasons.setdefault(names[i], {})[GRANULATED] = NO_PAIR
    fields = {"tau": tau, "low": low, "high": high, "num_runs": runs, "num_settings": settings}
    return {**fields, **parts, "reasons": reasons}
