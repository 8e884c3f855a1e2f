"""One sharpness measure at many checkpoints, one after the other, on the same samples."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .. import measures, sharpness
from ..errors import NumericalError, one_line
from ..results import Sharpness, SharpnessSeries, Status
from ..results.series import DIVERGED, DONE, NON_FINITE, NOT_CONVERGED, NOT_RESOLVED
from .keeping import Found, Keeper
from .measured import Minimum, Request, one_by_one
from .rows import Plan, Row

VERSION = 2
# How a series ended: by the best that became of a row.
ENDED = {
    DONE: Status.COMPLETE,
    NOT_CONVERGED: Status.NOT_CONVERGED,
    NOT_RESOLVED: Status.NOT_RESOLVED,
    NON_FINITE: Status.NON_FINITE,
    DIVERGED: Status.NON_FINITE,
}
STATES = {
    Status.COMPLETE: DONE,
    Status.CONVERGED: DONE,
    Status.NOT_CONVERGED: NOT_CONVERGED,
    Status.NOT_RESOLVED: NOT_RESOLVED,
    Status.NON_FINITE: NON_FINITE,
}

Progress = Callable[[int], None]  # called with the number of rows done


@dataclass(frozen=True)
class _Point:
    """What was found at one row."""

    row: Row
    status: int
    found: Sharpness | None = None

    def number(self, name: str, states: tuple[int, ...] = (DONE,)) -> float:
        """A number of the measure; nan where there is none, or where it does not hold."""
        value = None if self.found is None or self.status not in states else getattr(self.found, name)
        return math.nan if value is None else float(value)


def measure_series(
    plan: Plan,
    request: Request,
    keeper: Keeper,
    measure: str = "keskar",
    *,
    progress: Progress | None = None,
    **asked: Any,
) -> Found:
    """The series of a plan and its provenance, each row computed or found under its own label, then stored itself.

    `asked` are options of the measure. A row whose measure is not finite, does not converge or is not resolved is
    marked and the others go on; a run that diverged is not measured. What is stored already is not computed again, so
    that a series that was stopped goes on. Raises UsageError for options out of range, InputError where the checkpoints
    do not fit each other.
    """
    options = measures.chosen(measure, asked)
    rows = [row for row in plan.rows if not row.diverged]
    points = {row.label: _Point(row, DIVERGED) for row in plan.rows}
    inputs: dict[str, str] = {str(row.path): row.sha256 for row in plan.rows}
    minimum = None
    paths, labels = [str(row.path) for row in rows], [row.label for row in rows]
    if not rows:
        raise NumericalError(f"{plan.label}: every run diverged, so there is nothing to measure")
    for done, (row, minimum) in enumerate(zip(rows, one_by_one(request, paths, labels), strict=True), start=1):
        points[row.label] = _measured(row, minimum, keeper, measure, request.seed, asked)
        if progress:
            progress(done)
    assert minimum is not None
    series = _assembled(plan, list(points.values()), minimum, measure, options, request.seed)
    return keeper.obtain(plan.label, series.settings, lambda _: series, minima=[replace(minimum, inputs=inputs)])


def _measured(row: Row, minimum: Minimum, keeper: Keeper, measure: str, seed: int, asked: Mapping[str, Any]) -> _Point:
    given = {"seed": seed, **asked}
    identity = sharpness.settings(minimum.objective, measure, **given)
    try:
        found, _ = keeper.obtain(
            row.label, identity, lambda _: sharpness.measure(minimum.objective, measure, **given), minima=[minimum]
        )
    except NumericalError as error:
        if keeper.say:
            keeper.say(f"{row.label}: {one_line(error)}")
        return _Point(row, NON_FINITE)
    assert isinstance(found, Sharpness)
    return _Point(row, STATES[found.status], found)


def _assembled(
    plan: Plan, points: list[_Point], minimum: Minimum, measure: str, options: Mapping[str, Any], seed: int
) -> SharpnessSeries:
    """The series; what identifies it are its checkpoints, in order, and how they are measured."""
    rows = [point.row for point in points]
    identity = {name: value for name, value in minimum.objective.identity.items() if name != "params"}
    warm = plan.against == "warm-epochs"

    def column(name: str) -> np.ndarray:
        return np.array([getattr(row, name) for row in rows])

    return SharpnessSeries(
        status=next(ended for state, ended in ENDED.items() if any(point.status == state for point in points)),
        settings={
            "kind": SharpnessSeries.kind,
            "version": VERSION,
            "measure": measure,
            **options,
            "seed": seed,
            "against": plan.against,
            "checkpoints": [row.sha256 for row in rows],
            **identity,
        },
        measure=measure,
        against=plan.against,
        options=dict(options),
        num_samples=minimum.objective.num_samples,
        names=tuple(row.label for row in rows),
        batch_size=column("batch_size"),
        seed=column("seed"),
        epoch=column("epoch"),
        updates=column("updates"),
        warm_epochs=column("warm_epochs") if warm else None,
        value=np.array([point.number("value") for point in points]),
        stderr=np.array([point.number("stderr") for point in points]),
        loss=np.array([point.number("loss", (DONE, NOT_CONVERGED, NOT_RESOLVED)) for point in points]),
        train_accuracy=column("train_accuracy"),
        test_accuracy=column("test_accuracy"),
        start_accuracy=column("start_accuracy") if warm else None,
        run_status=np.array([point.status for point in points], dtype=np.uint8),
    )
