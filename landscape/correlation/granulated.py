"""Jiang's granulated coefficient: Kendall's tau where one hyper-parameter alone varies, averaged over all others."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..results import Array


def axes_of(recipes: Sequence[Mapping[str, Any]]) -> dict[str, tuple[str, ...]]:
    """What varies over recipes, as axes: the values of each run as text, by the name of the axis.

    `recipes` hold one mapping of hyper-parameters a run, without seeds. What always varies together is one axis, whose
    name joins theirs: nothing could tell them apart. In the order of the names.
    """
    names = list(dict.fromkeys(name for recipe in recipes for name in recipe))
    columns = {name: tuple(str(recipe.get(name)) for recipe in recipes) for name in names}
    together: dict[tuple[int, ...], list[str]] = {}
    for name, column in columns.items():
        if len(set(column)) > 1:
            together.setdefault(_codes(column), []).append(name)
    groups = {" & ".join(group): [columns[name] for name in group] for group in together.values()}
    return {name: tuple(map(" & ".join, zip(*groups[name], strict=True))) for name in sorted(groups)}


def numbered(*columns: Iterable[Any]) -> Array:
    """A number (runs,) for each combination of values of the columns that occurs, in the order of their first runs."""
    return np.array(_codes(list(zip(*columns, strict=True))), dtype=int)


def granulated(
    measure: Array, target: Array, axes: Mapping[str, Sequence[Any]], seed: Sequence[Any]
) -> tuple[Array, float]:
    """psi (axes,) of each hyper-parameter and their mean Psi: Jiang et al. 2020, section 2.2.1.

    psi_i is the mean over groups of runs that share all hyper-parameters but the i-th, of sum sign(m - m') sign(g - g')
    / pairs; a tie counts as zero there. A group shares its seed too: the seeds are repetitions of the experiment, over
    which the coefficient is averaged. Pairs that do not differ in the i-th are left out (none in a full grid, which the
    definition is for), and so are groups of one run; all groups weigh the same. psi is nan where no two runs differ in
    the i-th alone; Psi is the mean of the others. measure, target: (runs,), finite. A measure that follows just one
    hyper-parameter, and the gap with it, has a small Psi and a large tau: that is what Psi is for.
    """
    values = {name: numbered(column) for name, column in axes.items()}
    agree = np.sign(measure[:, None] - measure) * np.sign(target[:, None] - target)
    found = np.full(len(values), math.nan)
    for index, (name, own) in enumerate(values.items()):
        others = [column for other, column in values.items() if other != name]
        group = numbered(*others, seed)
        means = []
        for members in (np.flatnonzero(group == one) for one in np.unique(group)):
            differ = own[members][:, None] != own[members]
            if differ.any():
                means.append(float(agree[np.ix_(members, members)][differ].mean()))
        if means:
            found[index] = float(np.mean(means))
    known = found[~np.isnan(found)]
    return found, float(known.mean()) if known.size else math.nan


def _codes(column: Iterable[Any]) -> tuple[int, ...]:
    seen: dict[Any, int] = {}
    return tuple(seen.setdefault(value, len(seen)) for value in column)
