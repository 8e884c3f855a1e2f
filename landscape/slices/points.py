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
from .together import Together

OF_SPLIT: tuple[str, ...] = ("loss", "loss_stderr", "accuracy", "difference_stderr", "error_difference_stderr")
OF_TEST: tuple[str, ...] = ("test_loss", "test_loss_stderr", "test_accuracy")
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


class Measure:
    """What is measured at points: `place(i)` is the objective at flat index i; `also` adds columns of its own."""

    def __init__(
        self,
        place: Callable[[int], Objective],
        reference: Reference,
        test: Objective | None = None,
        also: Callable[[Objective], Mapping[str, float]] | None = None,
    ) -> None:
        self.place, self.reference, self.test, self.also = place, reference, test, also
        self.together, self.test_together = Together(), Together()

    def __call__(self, indices: Sequence[int]) -> list[Row]:
        """The columns at points; None where the loss is not finite: such a point has no accuracy either."""
        points = [self.place(index) for index in indices]
        found = self.together(points)
        numbers = [found.loss, stderr(found.influence), found.accuracy, *self._differences(found, indices)]
        names = OF_SPLIT
        if self.test is not None:
            tested = self.test_together([self.test.at(at.params).with_constants(at.constants) for at in points])
            numbers += [tested.loss, stderr(tested.influence), tested.accuracy]
            names = ALL
        rows: list[dict[str, float]] = [
            dict(zip(names, row, strict=True)) for row in torch.stack(numbers, dim=1).tolist()
        ]
        return [self._finished(at, row) for at, row in zip(points, rows, strict=True)]

    def _finished(self, at: Objective, row: dict[str, float]) -> Row:
        if not np.isfinite(row["loss"]):
            return None
        return row if self.also is None else {**row, **self.also(at)}

    def _differences(self, found: Measured, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Standard errors of the losses and the errors less their references, the samples being shared."""
        loss, error = found.influence, found.error_influence
        weights, terms = _weights(self.reference.loss, indices, loss)
        loss = loss - sum(w * term.influence for w, term in zip(weights, terms, strict=True))
        weights, terms = _weights(self.reference.error, indices, error)
        error = error - sum(w * term.error_influence for w, term in zip(weights, terms, strict=True))
        return stderr(loss), stderr(error)


def _weights(of: Callable[[int], Terms], indices: Sequence[int], like: Tensor) -> tuple[Tensor, list[Measured]]:
    """The weights of the terms at each index, (terms, P, 1), and the terms, which are the same at all."""
    terms = [of(index) for index in indices]
    weights = like.new_tensor([[weight for weight, _ in row] for row in terms]).T[..., None]
    return weights, [term for _, term in terms[0]]


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
