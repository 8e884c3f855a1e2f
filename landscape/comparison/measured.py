"""What a comparison is made from: a measure of every label, or of every pair, as it was measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..errors import InputError
from ..results import Array
from ..results.comparison import NONE, PROBES, SEEDS, SUBSETS
from .intervals import Interval, mean_interval, paired_difference, unpaired_difference, welch
from .intervals import with_error as interval_of


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One measure of every label, in the order of the labels.

    `over` subsets or probes: `draws`, the same subsets or probes for every label, or for probes `value` and `error`;
    over seeds: `draws`, one number a run, any number of them; over none: `value`. With draws over subsets `value` is
    the measure on all samples, `error` that of it. A label without a value has its reason in `reasons`. Differences up
    to `resolution`, in the unit, are the solver's. Labels in `unresolved`, with the reason, have values that are not to
    be told from others.
    """

    name: str
    over: str
    unit: str = "1"
    title: str = ""
    section: str = ""
    scaling: str = ""
    draws: Sequence[Array] | None = None
    value: Sequence[float] | None = None
    error: Sequence[float] | None = None
    freedom: Sequence[float] | None = None  # degrees of freedom of each error; none: infinite
    resolution: float = 0.0
    reasons: Mapping[str, str] = field(default_factory=dict)
    unresolved: Mapping[str, str] = field(default_factory=dict)

    def checked(self, labels: Sequence[str]) -> Measured:
        """Itself. Raises InputError where what is given does not make a value for every label."""
        given = {
            SUBSETS: self.draws is not None,
            PROBES: (self.draws is not None) != (self.value is not None and self.error is not None),
            SEEDS: self.draws is not None,
            NONE: self.value is not None,
        }
        if not given.get(self.over, False):
            raise InputError(f"{self.name} over {self.over!r} lacks its draws, or its values and errors")
        columns = [column for column in (self.draws, self.value, self.error, self.freedom) if column is not None]
        if any(len(column) != len(labels) for column in columns):
            raise InputError(f"{self.name} needs a value for each of {', '.join(labels)}")
        return self

    def of_label(self, index: int, level: float) -> Interval:
        """The value of one label with its interval."""
        if self.draws is not None:
            return mean_interval(self.draws[index], level)
        assert self.value is not None
        if self.over == NONE or self.error is None:
            return Interval(self.value[index], math.nan, math.nan)
        return interval_of(self.value[index], self.error[index], level, self._freedom(index))

    def difference(self, i: int, j: int, level: float) -> tuple[Interval, float]:
        """The value of label i less that of label j with its interval, and p where it is over seeds."""
        if self.draws is not None and self.over == SEEDS:
            return welch(self.draws[i], self.draws[j], level)
        if self.draws is not None:
            return paired_difference(self.draws[i], self.draws[j], level), math.nan
        assert self.value is not None
        if self.over == NONE or self.error is None:
            return Interval(self.value[i] - self.value[j], math.nan, math.nan), math.nan
        values, errors = (self.value[i], self.value[j]), (self.error[i], self.error[j])
        return unpaired_difference(values, errors, level, (self._freedom(i), self._freedom(j))), math.nan

    def _freedom(self, index: int) -> float:
        return math.inf if self.freedom is None else self.freedom[index]


@dataclass(frozen=True, kw_only=True)
class Relation:
    """A measure of each pair itself, in the order of the pairs, with its interval where there is one."""

    name: str
    values: Sequence[Interval]
    unit: str = "1"
    title: str = ""
    reasons: Mapping[str, str] = field(default_factory=dict)  # by `pair_name`, where there is no value
