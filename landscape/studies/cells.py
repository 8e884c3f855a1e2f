"""What a comparison measures, one cell after another, so that it can stop between two and go on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..comparing.pairs import ALPHAS, Pair, measure_pair
from ..comparing.points import Point, Value, measure_point
from ..comparing.subsets import points_of
from ..comparing.table import POINTS
from ..errors import InputError, NumericalError, Stopped
from ..results import Status
from ..resume import Pace
from ..slices import line
from .groups import Run, Subject, matched
from .slicing import directions_from

ALL = "all"  # the part of a minimum's samples that is all of them
FOOTING = "footing"  # a cell beside the measures: loss, penalty, gradient norm, curvature along the gradient
SLICE = "slice"  # a cell: the loss along a random direction
NORMALIZE = "filter"
SLICE_ALPHAS = np.linspace(-1, 1, 21)

Cell = Any  # what JSON holds
Progress = Callable[[int, str], None]  # called with the number of cells done and what is next


def subset(index: int) -> str:
    """The name of a part of the samples."""
    return f"subset {index + 1}"


def of_pair(one: str, two: str) -> str:
    """The name of two runs: no name of one has this form, since labels hold no slash."""
    return f"{one} / {two}"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a comparison measures: names at points and between them, and over how many disjoint subsets."""

    measures: tuple[str, ...]
    pairs: tuple[str, ...]
    repeats: int
    seed: int


@dataclass(eq=False)
class Cells:
    """Numbers by minimum or pair, part of the samples, and measure; each is measured once.

    `save` is called at most once a second of work; `stop` is asked before each cell that costs something.
    """

    plan: Plan
    subjects: Sequence[Subject]
    found: dict[str, dict[str, dict[str, Cell]]] = field(default_factory=dict)
    save: Callable[[], None] | None = None
    stop: Callable[[], bool] | None = None
    progress: Progress | None = None

    def __post_init__(self) -> None:
        self.done = sum(len(cells) for parts in self.found.values() for cells in parts.values())
        self.pace = Pace()
        self.points = {
            run.name: Point(run.minimum.objective, run.minimum.test, run.start, self.plan.seed)
            for subject in self.subjects
            for run in subject.runs
        }

    @property
    def total(self) -> int:
        """Cells of the whole comparison."""
        plan, count = self.plan, len(self.points)
        of_point = len(plan.measures) + 2 + len(_of_samples(plan)) * plan.repeats
        return count * of_point + len(plan.pairs) * sum(1 for _ in self.matched())

    def matched(self) -> Iterator[tuple[str, str]]:
        """The names of the runs that are held against each other (`landscape.studies.groups.matched`)."""
        for at, subject in enumerate(self.subjects):
            for other in self.subjects[at + 1 :]:
                for one, two in matched(subject, other):
                    yield one.name, two.name

    def measure(self) -> None:
        """Measures all that is not yet there. Raises Stopped, after a last save, where `stop` says so."""
        for subject in self.subjects:
            for run in subject.runs:
                self._minimum(run)
        pairs = list(self.matched())
        for at, (one, two) in enumerate(pairs):
            for name in self.plan.pairs:
                self._once(of_pair(one, two), ALL, name, lambda a=one, b=two, n=name: self._pair(a, b, n))
            later = {name for pair in pairs[at + 1 :] for name in pair}
            for name in {one, two} - later:
                self.points[name].forget()

    def _minimum(self, run: Run) -> None:
        """All measures of a minimum on all samples, then on each subset; its products are given back between."""
        point = self.points[run.name]
        for name in self.plan.measures:
            self._once(run.name, ALL, name, lambda name=name: _cell(point, name))
        self._once(run.name, ALL, FOOTING, lambda: _footing(point))
        self._once(run.name, ALL, SLICE, lambda: self._slice(run))
        if "overlap" in self.plan.pairs and not self._compared(run.name):
            self._asked(f"{run.name}: eigenvectors")
            point.leading()
        point.release()
        names = _of_samples(self.plan)
        wanted = [index for index in range(self.plan.repeats) if not self._has(run.name, subset(index), names)]
        if not wanted:
            return
        for index, part in enumerate(points_of(point, self.plan.repeats)):
            for name in names if index in wanted else ():
                self._once(run.name, subset(index), name, lambda part=part, name=name: _cell(part, name))

    def _has(self, of: str, part: str, names: Sequence[str]) -> bool:
        held = self.found.get(of, {}).get(part, {})
        return all(name in held for name in names)

    def _compared(self, name: str) -> bool:
        """Whether the eigenvectors of a minimum are needed no more."""
        return all(self._has(of_pair(one, two), ALL, ["overlap"]) for one, two in self.matched() if name in (one, two))

    def _slice(self, run: Run) -> list[Any]:
        """The losses along the direction; none where there is no direction, as at weights that are all zero."""
        objective = run.minimum.objective
        try:
            direction, _ = directions_from(objective, self.plan.seed, NORMALIZE)
            return [_finite(value) for value in line(objective, direction, SLICE_ALPHAS).loss]
        except (InputError, NumericalError):
            return []

    def _pair(self, one: str, two: str, name: str) -> dict[str, Any]:
        found: Pair = measure_pair(self.points[one], self.points[two], name)
        losses = None if found.line is None else [_finite(v) for v in _at(found.line.alpha, found.line.loss)]
        return {
            "value": found.value,
            "low": found.low,
            "high": found.high,
            "layers": {layer: _finite(value) for layer, value in found.layers.items()},
            "note": found.note,
            "status": str(found.status),
            "line": losses,
        }

    def _once(self, of: str, part: str, name: str, compute: Callable[[], Cell]) -> None:
        cells = self.found.setdefault(of, {}).setdefault(part, {})
        if name in cells:
            return
        self._asked(f"{of}, {part}: {name}")
        cells[name] = compute()
        self.done += 1
        self.pace.offer(self.save)

    def _asked(self, what: str) -> None:
        if self.progress:
            self.progress(self.done, what)
        if self.stop and self.stop():
            if self.save:
                self.save()
            raise Stopped("stopped between two measures; --resume goes on from here")

    def value(self, run: str, part: str, name: str) -> Value | None:
        """A measure at a minimum; None where it is not measured yet."""
        cell = self.found.get(run, {}).get(part, {}).get(name)
        return None if cell is None else Value(cell[0], cell[1], cell[2], cell[3], Status(cell[4]))


def _cell(point: Point, name: str) -> list[Any]:
    found = measure_point(point, name)
    return [*found[:-1], str(found.status)]


def _of_samples(plan: Plan) -> list[str]:
    """The measures that subsets have values of their own of."""
    return [name for name in plan.measures if POINTS[name].of_samples]


def _footing(point: Point) -> list[float | None]:
    """Loss, penalty, gradient norm, curvature along the gradient; None for what is not finite or not to be had."""
    found: list[float | None] = []
    penalty = float(point.objective.penalty())
    for measure in (point.loss, lambda: penalty, point.gradient_norm, point.curvature_along):
        try:
            found.append(_finite(measure()))
        except (InputError, NumericalError):
            found.append(None)
    return found


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _at(alpha: np.ndarray, loss: np.ndarray) -> Sequence[float]:
    """The losses at `ALPHAS`, which the line's positions hold."""
    return [float(loss[int(np.argmin(np.abs(alpha - at)))]) for at in ALPHAS]
