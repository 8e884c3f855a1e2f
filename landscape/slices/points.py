"""Loss and accuracy at the points of a slice, with the errors of their differences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..objective import Objective
from ..passes import Measured, stderr
from ..results import DONE, INTERPOLATED, NON_FINITE
from ..resume import Points, Row
from .together import Together

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


class Measure:
    """What is measured at points: `place(i)` is the objective at flat index i; `also` adds columns of its own.

    With `errors` the standard error of the difference of the errors comes too, which barriers need. `within(i)` is a
    context in which the point at i is measured where it is measured alone.
    """

    def __init__(
        self,
        place: Callable[[int], Objective],
        reference: Reference,
        test: Objective | None = None,
        also: Callable[[Objective], Mapping[str, float]] | None = None,
        *,
        errors: bool = False,
        within: Callable[[int], AbstractContextManager[None]] | None = None,
    ) -> None:
        self.place, self.reference, self.test, self.also, self.errors = place, reference, test, also, errors
        self.within = within
        self.together = Together(lambda count: [self.place(index) for index in range(count)])
        self.test_together = Together(lambda count: self._on_test([self.place(index) for index in range(count)]))

    def __call__(self, indices: Sequence[int]) -> list[Row]:
        """The columns at points; None where the loss is not finite: such a point has no accuracy either."""
        points = [self.place(index) for index in indices]
        with self.within(indices[0]) if self.within and len(points) == 1 else nullcontext():
            found, tested = self.together(points), self._tested(points)
        columns = {"loss": found.loss, "loss_stderr": stderr(found.influence), "accuracy": found.accuracy}
        columns["difference_stderr"] = _of_difference(
            found.influence, self.reference.loss, indices, lambda term: term.influence
        )
        if self.errors:
            columns["error_difference_stderr"] = _of_difference(
                found.error_influence, self.reference.error, indices, lambda term: term.error_influence
            )
        if tested is not None:
            numbers = (tested.loss, stderr(tested.influence), tested.accuracy)
            columns |= dict(zip(OF_TEST, numbers, strict=True))
        table = torch.stack(list(columns.values()), dim=1).tolist()
        rows: list[dict[str, float]] = [dict(zip(columns, row, strict=True)) for row in table]
        return [self._finished(at, row) for at, row in zip(points, rows, strict=True)]

    def _tested(self, points: Sequence[Objective]) -> Measured | None:
        return None if self.test is None else self.test_together(self._on_test(points))

    def _on_test(self, points: Sequence[Objective]) -> list[Objective]:
        assert self.test is not None
        return [self.test.at(at.params).with_constants(at.constants) for at in points]

    def _finished(self, at: Objective, row: dict[str, float]) -> Row:
        if not np.isfinite(row["loss"]):
            return None
        return row if self.also is None else {**row, **self.also(at)}


def _of_difference(
    influence: Tensor,
    of: Callable[[int], Terms],
    indices: Sequence[int],
    part: Callable[[Measured], Tensor],
) -> Tensor:
    """Standard errors (P,) of losses or errors less their references, the samples being shared; influence (P, G).

    The terms of the reference are the same at all points, their weights are not. nan where memory has cut chunks since
    the reference was measured, and with them the groups of a user's loss.
    """
    terms = [of(index) for index in indices]
    for k, (_, term) in enumerate(terms[0]):
        if part(term).shape != influence.shape[1:]:
            return torch.full_like(influence[:, 0], np.nan)
        weights = influence.new_tensor([row[k][0] for row in terms])
        influence = influence - weights[:, None] * part(term)
    return stderr(influence)


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
