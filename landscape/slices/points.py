"""Loss and accuracy at the points of a slice."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ..objective import Objective
from ..results import TODO
from ..resume import Points

COLUMNS = ("loss", "loss_stderr", "accuracy", "test_loss", "test_accuracy")


def at_points(place: Callable[[int], Objective], test: Objective | None) -> Callable[[int], Mapping[str, float] | None]:
    """What is measured at a point, for `Points.evaluate`; `place(i)` is the objective at flat index i."""

    def measure(index: int) -> Mapping[str, float] | None:
        at = place(index)
        found = at.evaluate()
        if not np.isfinite(found.loss):
            return None  # the largest of several nan is no answer: such a point has no accuracy either
        row = {"loss": found.loss, "loss_stderr": found.loss_stderr, "accuracy": found.accuracy}
        if test is not None:
            tested = test.at(at.params).with_constants(at.constants).evaluate()
            row |= {"test_loss": tested.loss, "test_accuracy": tested.accuracy}
        return row

    return measure


def columns(points: Points, *, with_test: bool) -> dict[str, np.ndarray | None]:
    """The measured arrays by name; None for what was not measured."""
    found: dict[str, np.ndarray | None] = {name: array.copy() for name, array in points.values.items()}
    if not with_test:
        found["test_loss"] = found["test_accuracy"] = None
    evaluated = points.status != TODO
    for name in ("accuracy", "test_accuracy"):
        column = found[name]
        if column is not None and evaluated.any() and np.isnan(column[evaluated]).all():
            found[name] = None
    return found
