"""The result of training a curve between two minima."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from .base import Array, mapping, quantity
from .slices import DIFFERENCE, POINT_STATUS, STDERR, Slice, slice_problems


@dataclass(frozen=True, kw_only=True, eq=False)
class Path(Slice):
    """Loss along a curve trained between two minima (Garipov et al. 2018): t = 0 and t = 1 are the minima. m points."""

    kind: ClassVar[str] = "path"
    t: Array = quantity("position on the curve", dims=("t",))
    loss: Array = quantity("loss", dims=("t",), unit="loss")
    loss_stderr: Array = quantity(STDERR, dims=("t",), unit="loss")
    accuracy: Array | None = quantity("accuracy", dims=("t",), optional=True)
    test_loss: Array | None = quantity("loss on the test split", dims=("t",), unit="loss", optional=True)
    test_loss_stderr: Array | None = quantity(f"{STDERR} of the test split", dims=("t",), unit="loss", optional=True)
    test_accuracy: Array | None = quantity("accuracy on the test split", dims=("t",), optional=True)
    difference_stderr: Array | None = quantity(
        f"{DIFFERENCE}: the chord between the minima", dims=("t",), unit="loss", optional=True
    )
    error_difference_stderr: Array | None = quantity(
        "standard error over samples of the error less the mean of the ends' errors", dims=("t",), optional=True
    )
    point_status: Array = quantity(POINT_STATUS, dims=("t",))
    curve: str = quantity("the curve: bezier or polychain")
    bends: Array = quantity("the trained points that bend the curve", dims=("bend", "param"), unit="param")
    velocity: Array | None = quantity(
        "momentum of the training, while it lasts", dims=("bend", "param"), unit="param", optional=True
    )
    epochs: int = quantity("epochs of the curve's training done", unit="epochs")
    updates: int = quantity("updates of the curve's training done", unit="updates")
    epoch: Array = quantity("epoch of the curve's training", dims=("epoch",))
    epoch_loss: Array = quantity("mean training loss over the epoch, at random t", dims=("epoch",), unit="loss")
    length: float = quantity("Euclidean length of the curve", unit="param")
    distance: float = quantity("Euclidean distance between the minima", unit="param")
    barrier: float | None = quantity("max over [0, 1] of L(t) - (1-t) L(0) - t L(1)", unit="loss", optional=True)
    barrier_low: float | None = quantity("lower end of its 95 % interval over samples", unit="loss", optional=True)
    barrier_high: float | None = quantity("upper end of its 95 % interval over samples", unit="loss", optional=True)
    error_barrier: float | None = quantity("max over [0, 1] of the error less the mean of the ends", optional=True)
    error_barrier_low: float | None = quantity("lower end of its 95 % interval over samples", optional=True)
    error_barrier_high: float | None = quantity("upper end of its 95 % interval over samples", optional=True)
    max_error: float | None = quantity("largest error on the curve", optional=True)
    max_end_error: float | None = quantity("larger error of the two minima", optional=True)
    max_test_error: float | None = quantity("largest error on the curve, test split", optional=True)
    max_test_end_error: float | None = quantity("larger error of the two minima, test split", optional=True)
    num_samples: int | None = quantity("samples of the split", optional=True)
    split: str = quantity("the split that loss and accuracy are of")
    bn: str = quantity("batch norm: eval, batch, recompute, or interpolate (the statistics move with t)")
    direction: Mapping[str, Any] = mapping("which minima these are, and how the curve was trained", of_run=True)

    def problems(self) -> list[str]:
        wrong = slice_problems(self, self.t)
        if not self.epochs == len(self.epoch) == len(self.epoch_loss):
            wrong.append(f"{self.epochs} epochs are done, but {len(self.epoch_loss)} have a loss")
        return wrong
