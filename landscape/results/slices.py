"""Results of evaluating the loss at the points of a slice, each point with a status of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .base import Array, Result, Status, mapping, quantity

TODO, DONE, NON_FINITE = 0, 1, 2  # the status of one point of a slice


@dataclass(frozen=True, kw_only=True, eq=False)
class Line(Result):
    """Loss along a straight line: w(alpha) = w + alpha * direction. m points."""

    kind: ClassVar[str] = "line"
    alpha: Array = quantity("position: multiples of the direction", dims=("alpha",))
    loss: Array = quantity("loss", dims=("alpha",), unit="loss")
    loss_stderr: Array = quantity("standard error of the loss over samples", dims=("alpha",), unit="loss")
    accuracy: Array | None = quantity("accuracy", dims=("alpha",), optional=True)
    test_loss: Array | None = quantity("loss on the test split", dims=("alpha",), unit="loss", optional=True)
    test_accuracy: Array | None = quantity("accuracy on the test split", dims=("alpha",), optional=True)
    point_status: Array = quantity("0 to do, 1 done, 2 non-finite", dims=("alpha",))
    unit_length: float = quantity("Euclidean length of one unit of alpha", unit="param")
    barrier: float | None = quantity("max over [0, 1] of L(t) - (1-t) L(0) - t L(1)", unit="loss", optional=True)
    error_barrier: float | None = quantity("max over [0, 1] of the error less the mean of the ends", optional=True)
    split: str = quantity("the split that loss and accuracy are of")
    bn: str = quantity("batch norm: eval, batch, or interpolate (the statistics move with the params)")
    direction: Mapping[str, Any] = mapping("how the direction came about", of_run=True)

    @property
    def missing(self) -> int:
        return int((self.point_status == TODO).sum())

    def problems(self) -> list[str]:
        return _problems(self, self.alpha)


@dataclass(frozen=True, kw_only=True, eq=False)
class Plane(Result):
    """Loss over a plane: w(alpha, beta) = w + alpha * d1 + beta * d2. Rows follow alpha."""

    kind: ClassVar[str] = "plane"
    alpha: Array = quantity("position along the first direction", dims=("alpha",))
    beta: Array = quantity("position along the second direction", dims=("beta",))
    loss: Array = quantity("loss", dims=("alpha", "beta"), unit="loss")
    loss_stderr: Array = quantity("standard error of the loss over samples", dims=("alpha", "beta"), unit="loss")
    accuracy: Array | None = quantity("accuracy", dims=("alpha", "beta"), optional=True)
    test_loss: Array | None = quantity("loss on the test split", dims=("alpha", "beta"), unit="loss", optional=True)
    test_accuracy: Array | None = quantity("accuracy on the test split", dims=("alpha", "beta"), optional=True)
    point_status: Array = quantity("0 to do, 1 done, 2 non-finite", dims=("alpha", "beta"))
    unit_lengths: Array = quantity("Euclidean length of one unit of alpha, of beta", dims=("axis",), unit="param")
    cosine: float = quantity("cosine between the two directions")
    split: str = quantity("the split that loss and accuracy are of")
    direction: Mapping[str, Any] = mapping("how the directions came about", of_run=True)

    @property
    def evaluated(self) -> Array:
        """Which points were evaluated: boolean, (len(alpha), len(beta))."""
        return self.point_status != TODO

    @property
    def missing(self) -> int:
        return int((self.point_status == TODO).sum())

    def problems(self) -> list[str]:
        return _problems(self, self.alpha, self.beta)


def _problems(found: Line | Plane, *axes: Array) -> list[str]:
    """The mask against the numbers: finite exactly where a point is done; the status against the mask."""
    done, finite = found.point_status == DONE, np.isfinite(found.loss)
    wrong = []
    if not np.isin(found.point_status, (TODO, DONE, NON_FINITE)).all():
        wrong.append("the status of a point is none of 0, 1 and 2")
    if (done & ~finite).any():
        wrong.append(f"{int((done & ~finite).sum())} points count as done, but their loss is not finite")
    if (~done & finite).any():
        wrong.append(f"{int((~done & finite).sum())} points have a loss, but do not count as done")
    if found.missing and found.status is not Status.STOPPED:
        wrong.append(f"{found.missing} of {done.size} points are missing, but its status is {found.status}")
    if found.status is Status.COMPLETE and not done.any():
        wrong.append("it counts as complete, but no point is finite")
    if any((np.diff(axis) <= 0).any() for axis in axes):
        wrong.append("the positions along an axis do not rise")
    return wrong
