"""One sharpness measure at several checkpoints: against the batch size, along training, or after warm starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from ..measures import MEASURES
from .base import Array, Result, Status, mapping, quantity

AXES = {"batch-size": "batch_size", "epoch": "epoch", "warm-epochs": "warm_epochs"}  # what it is against, its field
RUN = ("run",)
DONE, NON_FINITE, NOT_CONVERGED, DIVERGED, NOT_RESOLVED = 1, 2, 3, 4, 5  # the status of one row


@dataclass(frozen=True, kw_only=True, eq=False)
class SharpnessSeries(Result):
    """A measure at several checkpoints, a row each, all on the same samples: Keskar et al. (2017), figures 4 to 6."""

    kind: ClassVar[str] = "sharpness-series"
    measure: str = quantity("the definition")
    against: str = quantity("what the rows differ in: batch-size, epoch or warm-epochs")
    options: Mapping[str, Any] = mapping("the options of the measure")
    num_samples: int = quantity("samples in the objective", unit="samples")
    names: tuple[str, ...] = field(
        metadata={"about": "labels of the rows, under which each is a result of its own", "of_run": True}
    )
    batch_size: Array = quantity("samples of an update, at the beginning", dims=RUN, unit="samples")
    seed: Array = quantity("seed of the run", dims=RUN)
    epoch: Array = quantity("passes over the training samples done", dims=RUN, unit="epochs")
    updates: Array = quantity("updates done", dims=RUN, unit="updates")
    warm_epochs: Array | None = quantity(
        "epochs of the checkpoint that the run began from; 0: none", dims=RUN, unit="epochs", optional=True
    )
    value: Array = quantity("the measure; nan where it is not finite, did not converge or is not resolved", dims=RUN)
    stderr: Array = quantity("standard error of the value over repeats; nan where there are none", dims=RUN)
    loss: Array = quantity("the objective at the centre", dims=RUN, unit="loss")
    train_accuracy: Array = quantity("accuracy on the training split, as the run logged it", dims=RUN)
    test_accuracy: Array = quantity("accuracy on the test split, as the run logged it", dims=RUN)
    start_accuracy: Array | None = quantity(
        "accuracy on the test split where the run began, as it logged it", dims=RUN, optional=True
    )
    run_status: Array = quantity(
        "1 measured, 2 not finite, 3 not converged, 4 the run diverged, 5 not resolved", dims=RUN
    )

    @property
    def position(self) -> Array:
        """What the rows differ in."""
        return getattr(self, AXES[self.against])

    def over(self, values: Array) -> dict[float, Array]:
        """By position, ascending, the values of the rows whose run did not diverge: those of several seeds together."""
        kept = self.run_status != DIVERGED
        return {float(place): values[kept & (self.position == place)] for place in np.unique(self.position)}

    def unit(self, name: str) -> str:
        own = super().unit(name)
        return MEASURES[self.measure].unit if name in ("value", "stderr") and self.measure in MEASURES else own

    def problems(self) -> list[str]:
        measured = self.run_status == DONE
        found = []
        if self.against not in AXES or self.position is None or len(self.names) != len(self.run_status):
            found.append("positions or names are missing")
        if not np.isfinite([self.value[measured], self.loss[measured]]).all():
            found.append("rows count as measured, but hold numbers that are not finite")
        if measured.any() != (self.status == Status.COMPLETE):
            found.append(f"{int(measured.sum())} rows are measured, but the status is {self.status}")
        return found
