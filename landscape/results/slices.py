"""Results of evaluating the loss at the points of a slice, each point with a status of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .base import Array, Result, Status, mapping, quantity

TODO, DONE, NON_FINITE, INTERPOLATED = 0, 1, 2, 3  # the status of one point of a slice

POINT_STATUS = "0 to do, 1 done, 2 non-finite, 3 interpolated"
STDERR = "standard error of the loss over samples"
DIFFERENCE = "standard error over samples of the loss less its reference, the points sharing their samples"


@dataclass(frozen=True, kw_only=True, eq=False)
class Slice(Result):
    """What lines, planes and curves share: a status for each point."""

    @property
    def point_statuses(self) -> Array:
        """The status of each point."""
        found: Array = getattr(self, "point_status")  # noqa: B009 - a field of each kind, with axes of its own
        return found

    @property
    def evaluated(self) -> Array:
        """Which points were evaluated: boolean, of the shape of the loss."""
        return (self.point_statuses == DONE) | (self.point_statuses == NON_FINITE)

    @property
    def missing(self) -> int:
        return int((self.point_statuses == TODO).sum())


@dataclass(frozen=True, kw_only=True, eq=False)
class Line(Slice):
    """Loss along a line: w(alpha) = w + alpha * direction, or a curve in closed form between two minima. m points."""

    kind: ClassVar[str] = "line"
    alpha: Array = quantity("position: multiples of the direction", dims=("alpha",))
    loss: Array = quantity("loss", dims=("alpha",), unit="loss")
    loss_stderr: Array = quantity(STDERR, dims=("alpha",), unit="loss")
    accuracy: Array | None = quantity("accuracy", dims=("alpha",), optional=True)
    test_loss: Array | None = quantity("loss on the test split", dims=("alpha",), unit="loss", optional=True)
    test_loss_stderr: Array | None = quantity(
        f"{STDERR} of the test split", dims=("alpha",), unit="loss", optional=True
    )
    test_accuracy: Array | None = quantity("accuracy on the test split", dims=("alpha",), optional=True)
    difference_stderr: Array | None = quantity(
        f"{DIFFERENCE}: the chord between two minima, else the loss at 0", dims=("alpha",), unit="loss", optional=True
    )
    error_difference_stderr: Array | None = quantity(
        "standard error over samples of the error less the mean of the ends' errors", dims=("alpha",), optional=True
    )
    eigenvalue: Array | None = quantity(
        "largest eigenvalue of the Hessian", dims=("alpha",), unit="loss / param^2", optional=True
    )
    eigenvalue_residual: Array | None = quantity(
        "relative residual of the eigenvalue, |Hv - lv| / |l|", dims=("alpha",), optional=True
    )
    point_status: Array = quantity(POINT_STATUS, dims=("alpha",))
    unit_length: float = quantity("Euclidean length of one unit of alpha", unit="param")
    barrier: float | None = quantity("max over [0, 1] of L(t) - (1-t) L(0) - t L(1)", unit="loss", optional=True)
    barrier_low: float | None = quantity("lower end of its 95 % interval over samples", unit="loss", optional=True)
    barrier_high: float | None = quantity("upper end of its 95 % interval over samples", unit="loss", optional=True)
    error_barrier: float | None = quantity("max over [0, 1] of the error less the mean of the ends", optional=True)
    error_barrier_low: float | None = quantity("lower end of its 95 % interval over samples", optional=True)
    error_barrier_high: float | None = quantity("upper end of its 95 % interval over samples", optional=True)
    num_samples: int | None = quantity("samples of the split", optional=True)
    split: str = quantity("the split that loss and accuracy are of")
    bn: str = quantity("batch norm: eval, batch, recompute, or interpolate (the statistics move with the params)")
    direction: Mapping[str, Any] = mapping("how the direction came about", of_run=True)

    def problems(self) -> list[str]:
        return slice_problems(self, self.alpha)


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerLines(Slice):
    """Loss where one layer at a time moves along a line, the others staying at alpha = 0. k layers, m points."""

    kind: ClassVar[str] = "layer-lines"
    layers: tuple[str, ...] = quantity("the layers, by the names of their modules", dims=("layer",))
    alpha: Array = quantity("position: multiples of the layer's part of the direction", dims=("alpha",))
    loss: Array = quantity("loss", dims=("layer", "alpha"), unit="loss")
    loss_stderr: Array = quantity(STDERR, dims=("layer", "alpha"), unit="loss")
    accuracy: Array | None = quantity("accuracy", dims=("layer", "alpha"), optional=True)
    test_loss: Array | None = quantity("loss on the test split", dims=("layer", "alpha"), unit="loss", optional=True)
    test_loss_stderr: Array | None = quantity(
        f"{STDERR} of the test split", dims=("layer", "alpha"), unit="loss", optional=True
    )
    test_accuracy: Array | None = quantity("accuracy on the test split", dims=("layer", "alpha"), optional=True)
    difference_stderr: Array | None = quantity(
        f"{DIFFERENCE}: the loss at 0", dims=("layer", "alpha"), unit="loss", optional=True
    )
    point_status: Array = quantity(POINT_STATUS, dims=("layer", "alpha"))
    unit_lengths: Array = quantity("Euclidean length of one unit of alpha in each layer", dims=("layer",), unit="param")
    num_samples: int | None = quantity("samples of the split", optional=True)
    split: str = quantity("the split that loss and accuracy are of")
    bn: str = quantity("batch norm: eval, batch, recompute, or interpolate (the statistics move with the layer)")
    direction: Mapping[str, Any] = mapping("how the direction came about", of_run=True)

    def problems(self) -> list[str]:
        return slice_problems(self, self.alpha)


@dataclass(frozen=True, kw_only=True, eq=False)
class Plane(Slice):
    """Loss over a plane: w(alpha, beta) = w + alpha * d1 + beta * d2. Rows follow alpha.

    Marks are minima in the plane, or projected onto it; a trajectory is a run's points, projected.
    """

    kind: ClassVar[str] = "plane"
    alpha: Array = quantity("position along the first direction", dims=("alpha",))
    beta: Array = quantity("position along the second direction", dims=("beta",))
    loss: Array = quantity("loss", dims=("alpha", "beta"), unit="loss")
    loss_stderr: Array = quantity(STDERR, dims=("alpha", "beta"), unit="loss")
    accuracy: Array | None = quantity("accuracy", dims=("alpha", "beta"), optional=True)
    test_loss: Array | None = quantity("loss on the test split", dims=("alpha", "beta"), unit="loss", optional=True)
    test_loss_stderr: Array | None = quantity(
        f"{STDERR} of the test split", dims=("alpha", "beta"), unit="loss", optional=True
    )
    test_accuracy: Array | None = quantity("accuracy on the test split", dims=("alpha", "beta"), optional=True)
    difference_stderr: Array | None = quantity(
        f"{DIFFERENCE}: the loss at the centre", dims=("alpha", "beta"), unit="loss", optional=True
    )
    point_status: Array = quantity(POINT_STATUS, dims=("alpha", "beta"))
    tolerance: float | None = quantity(
        "largest error asked of an interpolated loss, as a fraction of the range", optional=True
    )
    interpolation_error: float | None = quantity(
        "estimate of the largest error of an interpolated loss, as a fraction of the range", optional=True
    )
    unit_lengths: Array = quantity("Euclidean length of one unit of alpha, of beta", dims=("axis",), unit="param")
    cosine: float = quantity("cosine between the two directions")
    explained: Array | None = quantity(
        "share of the trajectory's variance along alpha, along beta", dims=("axis",), optional=True
    )
    marks: tuple[str, ...] | None = quantity("minima in the plane or projected onto it", dims=("mark",), optional=True)
    mark_alpha: Array | None = quantity("position of each", dims=("mark",), optional=True)
    mark_beta: Array | None = quantity("position of each", dims=("mark",), optional=True)
    mark_residual: Array | None = quantity(
        "distance of each from the plane", dims=("mark",), unit="param", optional=True
    )
    mark_loss: Array | None = quantity("loss at each itself", dims=("mark",), unit="loss", optional=True)
    trajectory: tuple[str, ...] | None = quantity("the run that each point is of", dims=("step",), optional=True)
    trajectory_alpha: Array | None = quantity("position of each point", dims=("step",), optional=True)
    trajectory_beta: Array | None = quantity("position of each point", dims=("step",), optional=True)
    trajectory_residual: Array | None = quantity(
        "distance of each point from the plane", dims=("step",), unit="param", optional=True
    )
    trajectory_distance: Array | None = quantity(
        "distance of each point from the centre", dims=("step",), unit="param", optional=True
    )
    num_samples: int | None = quantity("samples of the split", optional=True)
    split: str = quantity("the split that loss and accuracy are of")
    bn: str | None = quantity("batch norm: eval, batch, recompute or interpolate", optional=True)
    direction: Mapping[str, Any] = mapping("how the directions came about", of_run=True)

    def problems(self) -> list[str]:
        return slice_problems(self, self.alpha, self.beta)


def slice_problems(found: Slice, *axes: Array) -> list[str]:
    """The mask against the numbers: finite exactly where a point has one; the status against the mask."""
    status, finite = found.point_statuses, np.isfinite(getattr(found, "loss"))  # noqa: B009 - as above
    valued = (status == DONE) | (status == INTERPOLATED)
    wrong = []
    if not np.isin(status, (TODO, DONE, NON_FINITE, INTERPOLATED)).all():
        wrong.append("the status of a point is none of 0, 1, 2 and 3")
    if (valued & ~finite).any():
        wrong.append(f"{int((valued & ~finite).sum())} points count as done, but their loss is not finite")
    if (~valued & finite).any():
        wrong.append(f"{int((~valued & finite).sum())} points have a loss, but do not count as done")
    if found.missing and found.status is not Status.STOPPED:
        wrong.append(f"{found.missing} of {status.size} points are missing, but its status is {found.status}")
    if found.status is Status.COMPLETE and not (status == DONE).any():
        wrong.append("it counts as complete, but no point is finite")
    if any((np.diff(axis) <= 0).any() for axis in axes):
        wrong.append("the positions along an axis do not rise")
    return wrong
