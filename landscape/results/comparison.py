"""Two or more minima side by side: measures with intervals, their differences, verdicts."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from .base import Array, Result, Status, mapping, quantity

BY_LABEL = ("measure", "label")
BY_PAIR = ("measure", "minima_pair")
OF_PAIRS = ("relation", "minima_pair")
OWN = "that of the measure"
JOINED = " vs "  # between the labels of a pair

NOT_COMPARABLE, NOT_RESOLVED, FIRST, SECOND = 0, 1, 2, 3  # verdicts
SUBSETS, PROBES, SEEDS, NONE = "subsets", "probes", "seeds", "none"  # what an interval is over
FUNCTION, RAW, INVARIANT = "function", "raw", "invariant"  # what a measure is of, or does where layers are rescaled
PAIRED, WELCH, MAX_T = "paired", "welch", "max-t"  # what verdicts follow from
FEWEST_SEEDS = 4  # in a group for max-t: of three and three the smallest p of an exchange is 2/20, above .05


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison(Result):
    """Measures of two or more minima on the same samples, probes and settings, and what differs between them.

    A difference is the first of a pair less the second. Intervals hold for each number alone.
    """

    kind: ClassVar[str] = "comparison"
    labels: tuple[str, ...] = field(metadata={"about": "the minima, or groups of runs"})
    measures: tuple[str, ...] = field(metadata={"about": "names of the measures"})
    titles: tuple[str, ...] = field(metadata={"about": "the measures in words"})
    units: tuple[str, ...] = field(metadata={"about": "their units; 1 where there is none"})
    sections: tuple[str, ...] = field(metadata={"about": "what they belong to, for the order of a table"})
    scaling: tuple[str, ...] = field(
        metadata={"about": "function: of the outputs alone; raw: rescaling of layers moves it; invariant: it does not"}
    )
    over: tuple[str, ...] = field(metadata={"about": "what intervals are over: subsets, probes, seeds or none"})
    value: Array = quantity(
        "the measure: mean over subsets, probes or seeds; nan: none, reasons say why", dims=BY_LABEL, unit=OWN
    )
    low: Array = quantity("lower end of its interval; nan: none", dims=BY_LABEL, unit=OWN)
    high: Array = quantity("upper end of its interval; nan: none", dims=BY_LABEL, unit=OWN)
    full: Array = quantity("the measure on all samples at once; nan: not measured", dims=BY_LABEL, unit=OWN)
    full_stderr: Array = quantity("its standard error over probes; nan: none, or exact", dims=BY_LABEL, unit=OWN)
    draws: Array | None = quantity(
        "the measure by subset or probe, the same ones for every label, or by run; nan: none",
        dims=("measure", "label", "draw"),
        unit=OWN,
        optional=True,
    )
    first: Array = quantity("index of the first of each pair among the labels", dims=("minima_pair",))
    second: Array = quantity("index of the second", dims=("minima_pair",))
    difference: Array = quantity("first less second", dims=BY_PAIR, unit=OWN)
    difference_low: Array = quantity("lower end of its interval; nan: none", dims=BY_PAIR, unit=OWN)
    difference_high: Array = quantity("upper end of its interval; nan: none", dims=BY_PAIR, unit=OWN)
    resolution: Array = quantity("differences up to this are rounding or the solver's", dims=BY_PAIR, unit=OWN)
    p_value: Array | None = quantity(
        "p of the difference; with max-t for all measures of the pair together", dims=BY_PAIR, optional=True
    )
    verdict: Array = quantity("0 not comparable, 1 not resolved, 2 the first higher, 3 the second higher", dims=BY_PAIR)
    reasons: Mapping[str, Any] = mapping("by measure, then by label or pair: why there is no more to say")
    relations: tuple[str, ...] = field(metadata={"about": "names of the measures of a pair itself"})
    relation_titles: tuple[str, ...] = field(metadata={"about": "the same in words"})
    relation_units: tuple[str, ...] = field(metadata={"about": "their units"})
    relation_value: Array = quantity("the measure of each pair; nan: none", dims=OF_PAIRS, unit=OWN)
    relation_low: Array = quantity("lower end of its interval; nan: none", dims=OF_PAIRS, unit=OWN)
    relation_high: Array = quantity("upper end of its interval; nan: none", dims=OF_PAIRS, unit=OWN)
    relation_reasons: Mapping[str, Any] = mapping("by relation, then by pair: the same")
    layers: Mapping[str, Any] = mapping("by relation, then pair, then param tensor (cka: layer): its value there")
    warnings: tuple[str, ...] = field(default=(), metadata={"about": "where measures are not on equal footing"})
    level: float = quantity("confidence level of the intervals")
    method: str = quantity("what verdicts follow from: paired, welch or max-t (with Holm's p of Welch)")
    exchanges: int | None = quantity("exchanges of seeds behind max-t", optional=True)
    exact: bool | None = quantity("whether these are all there are", optional=True)
    num_subsets: int = quantity("disjoint subsets of the samples; 0: none")
    num_samples: int = quantity("samples of a subset, of all where there are none", unit="samples")
    num_all_samples: int = quantity("samples behind the values on all samples", unit="samples")
    num_test_samples: int | None = quantity(
        "test samples of a subset, of all where there are none", unit="samples", optional=True
    )
    num_all_test_samples: int | None = quantity("test samples in all", unit="samples", optional=True)
    groups: Mapping[str, Any] = mapping("by label the checkpoints of its training seeds; empty: labels are checkpoints")
    matched: Mapping[str, Any] = mapping("of groups, by pair: how many pairs of runs its own measures are means over")
    differing: Mapping[str, Any] = mapping("what the labels' recipes differ in: by setting, then by label, each value")
    alpha: Array | None = quantity(
        "positions along a random direction with the norms of the filters (Li et al. 2018)",
        dims=("alpha",),
        optional=True,
    )
    slice_loss: Array | None = quantity(
        "loss along the direction, drawn from one seed for all; of a group the mean over runs",
        dims=("label", "alpha"),
        unit="loss",
        optional=True,
    )
    t: Array | None = quantity("positions between two minima, 0 and 1 the minima", dims=("t",), optional=True)
    between_loss: Array | None = quantity(
        "loss on the straight line between a pair; of groups the mean over matched runs",
        dims=("minima_pair", "t"),
        unit="loss",
        optional=True,
    )
    aligned_loss: Array | None = quantity(
        "the same, the second's hidden units permuted to fit the first's",
        dims=("minima_pair", "t"),
        unit="loss",
        optional=True,
    )
    cells: Mapping[str, Any] = mapping("all that was measured, by minimum or pair and samples: number, error, note")

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The labels of each pair."""
        return [(self.labels[i], self.labels[j]) for i, j in zip(self.first, self.second, strict=True)]

    def verdict_text(self, measure: int, pair: int) -> str:
        """`LABEL higher`, `not resolved` or `not comparable`."""
        first, second = self.pairs[pair]
        words = {NOT_COMPARABLE: "not comparable", FIRST: f"{first} higher", SECOND: f"{second} higher"}
        return words.get(int(self.verdict[measure, pair]), "not resolved")

    def reason(self, measure: int, pair: int) -> str:
        """Why the verdict is `not resolved` or `not comparable`; empty where a label is higher."""
        return self.reasons.get(self.measures[measure], {}).get(pair_name(*self.pairs[pair]), "")

    def problems(self) -> list[str]:
        sizes = {len(self.measures), *map(len, (self.titles, self.units, self.sections, self.scaling, self.over))}
        sizes |= {len(values) for values in (self.value, self.low, self.high, self.full, self.verdict)}
        if len(sizes) > 1 or len(self.labels) != self.value.shape[1] or len(set(self.measures)) < len(self.measures):
            return ["names, units and values of the measures are not equally many, or a name stands twice"]
        if self.pairs != list(itertools.combinations(self.labels, 2)):
            return ["the pairs are not those of the labels"]
        found = []
        for low, value, high in (
            (self.low, self.value, self.high),
            (self.difference_low, self.difference, self.difference_high),
            (self.relation_low, self.relation_value, self.relation_high),
        ):
            if ((low > value) | (value > high)).any():
                found.append("a value lies outside its interval")
        resolved = np.isin(self.verdict, (FIRST, SECOND))
        towards = np.where(self.verdict == FIRST, 1, -1)
        bounded = np.array([over != NONE for over in self.over])[:, None]
        near = np.where(towards > 0, self.difference_low, -self.difference_high)
        near = np.where(bounded, near, self.difference * towards)
        if not (near > 0)[resolved].all():
            found.append("a label counts as higher, but the interval of the difference does not say so")
        if np.isfinite(self.difference[self.verdict == NOT_COMPARABLE]).any():
            found.append("differences are given of what counts as not comparable")
        slices = ((self.alpha, self.slice_loss), (self.t, self.between_loss), (self.t, self.aligned_loss))
        if any(loss is not None and (at is None or loss.shape[1] != len(at)) for at, loss in slices):
            found.append("slices and their positions are not equally many")
        if self.status == Status.COMPLETE and not np.isfinite(self.difference[self.verdict != NOT_COMPARABLE]).all():
            found.append("differences are missing of what counts as comparable")
        return found


def pair_name(first: str, second: str) -> str:
    """How a pair is called in a file."""
    return f"{first}{JOINED}{second}"
