"""Loss and accuracy at the points of a slice, with the errors of their differences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..objective import Objective
from ..passes import Measured, stderr
from ..results import DONE, INTERPOLATED, NON_FINITE
from ..resume import Points, Row

OF_SPLIT = ("loss", "loss_stderr", "accuracy", "difference_stderr", "error_difference_stderr")
OF_TEST = ("test_loss", "test_loss_stderr", "test_accuracy")
ALL = (*OF_SPLIT, *OF_TEST)
COLUMNS = tuple(name for name in ALL if name != "error_difference_stderr")  # which only barriers need

Terms = Sequence[tuple[float, Measured]]


@dataclass(frozen=True)
class Reference:
    """What the losses and the errors at the points are held against: at index i, sum_k c_k L_k and sum_k c_k E_k."""

    loss: Callable[[int], Terms]
    error: Callable[[int], Terms]


def of_centre(centre: Objective) -> Reference:
    """Held against one point. One forward pass."""
    terms = [(1.0, centre.measured())]
    return Reference(lambda _: terms, lambda _: terms)


def of_chord(first: Objective, last: Objective, positions: np.ndarray) -> Reference:
    """The loss against the chord (1-t) L(0) + t L(1), the error against the mean of the ends. Two forward passes."""
    ends = (first.measured(), last.measured())
    mean = [(0.5, end) for end in ends]
    return Reference(lambda i: list(zip((1 - positions[i], positions[i]), ends, strict=True)), lambda _: mean)


@dataclass(frozen=True)
class Measure:
    """What is measured at a point: `place(i)` is the objective at flat index i; `also` adds columns of its own."""

    place: Callable[[int], Objective]
    reference: Reference
    test: Objective | None = None
    also: Callable[[Objective], Mapping[str, float]] | None = None

    def __call__(self, indices: Sequence[int]) -> list[Row]:
        return [self.row(index) for index in indices]

    def row(self, index: int) -> Row:
        """The columns at a point; None where its loss is not finite: such a point has no accuracy either."""
        at = self.place(index)
        found = at.measured()
        numbers = [found.loss, stderr(found.influence), found.accuracy, *self._differences(found, index)]
        names = OF_SPLIT
        if self.test is not None:
            tested = self.test.at(at.params).with_constants(at.constants).measured()
            numbers += [tested.loss, stderr(tested.influence), tested.accuracy]
            names = ALL
        row: dict[str, float] = dict(zip(names, torch.stack(numbers).tolist(), strict=True))
        if not np.isfinite(row["loss"]):
            return None
        if self.also is not None:
            row.update(self.also(at))
        return row

    def _differences(self, found: Measured, index: int) -> tuple[Tensor, Tensor]:
        """Standard errors of the loss and the error less their references, the samples being shared."""
        loss, error = found.influence.clone(), found.error_influence.clone()
        for weight, term in self.reference.loss(index):
            loss -= weight * term.influence
        for weight, term in self.reference.error(index):
            error -= weight * term.error_influence
        return stderr(loss), stderr(error)


def columns(points: Points, *, with_test: bool) -> dict[str, np.ndarray | None]:
    """The measured arrays by name; None for what was not measured."""
    found: dict[str, np.ndarray | None] = {name: array.copy() for name, array in points.values.items()}
    if not with_test:
        found.update(dict.fromkeys(OF_TEST))
    evaluated = np.isin(points.status, (DONE, NON_FINITE, INTERPOLATED))
    for name in ("accuracy", "test_accuracy", "error_difference_stderr"):
        column = found.get(name)
        if column is not None and evaluated.any() and np.isnan(column[evaluated]).all():
            found[name] = None
    return found
