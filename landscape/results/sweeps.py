"""The summary of a sweep: one rule for the learning rate, batch sizes and seeds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .base import Array, Result, Status, quantity

RUN = ("run",)
TODO, DONE, DIVERGED, MISSED = 0, 1, 2, 3  # the status of one run


@dataclass(frozen=True, kw_only=True, eq=False)
class Sweep(Result):
    """The runs of one rule for the learning rate: a row for each batch size and seed, metrics of what it kept."""

    kind: ClassVar[str] = "sweep"
    rule: str = quantity("how the learning rate follows the batch size: none, linear or sqrt")
    budget: str = quantity("what all runs have in common: epochs or updates")
    batch_size: Array = quantity("samples of an update, at the beginning", dims=RUN, unit="samples")
    seed: Array = quantity("seed of the run", dims=RUN)
    run_status: Array = quantity("0 to do, 1 done, 2 diverged, 3 target loss not reached", dims=RUN)
    learning_rate: Array = quantity("scaled learning rate, before any schedule", dims=RUN)
    updates: Array = quantity("updates done", dims=RUN, unit="updates")
    epochs: Array = quantity("passes over the training samples done", dims=RUN, unit="epochs")
    train_loss: Array = quantity("loss on the training split", dims=RUN, unit="loss")
    train_accuracy: Array = quantity("accuracy on the training split", dims=RUN)
    test_loss: Array = quantity("loss on the test split", dims=RUN, unit="loss")
    test_accuracy: Array = quantity("accuracy on the test split", dims=RUN)
    distance: Array = quantity("Euclidean distance of the params from the initial point", dims=RUN, unit="param")
    seconds: Array = quantity("wall-clock time of training", dims=RUN, unit="s", of_run=True)

    @property
    def missing(self) -> int:
        return int((self.run_status == TODO).sum())

    @property
    def gap(self) -> Array:
        """Train accuracy less test accuracy of each run."""
        return self.train_accuracy - self.test_accuracy

    def over_seeds(self, values: Array) -> dict[int, Array]:
        """By batch size, the values of the runs that were trained to their end."""
        ended = np.isin(self.run_status, (DONE, MISSED))
        sizes = sorted({int(size) for size in self.batch_size})
        return {size: values[ended & (self.batch_size == size)] for size in sizes}

    def problems(self) -> list[str]:
        if (self.missing > 0) != (self.status == Status.STOPPED):
            return [f"{self.missing} runs are to do, but the status is {self.status}"]
        return []
