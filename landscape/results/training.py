"""The log of a training run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .base import Array, Result, quantity


@dataclass(frozen=True, kw_only=True, eq=False)
class Training(Result):
    """The log of a training run: one row an epoch, the first row (epoch 0) the initial point."""

    kind: ClassVar[str] = "training"
    epoch: Array = quantity("epochs done", dims=("epoch",), unit="epochs")
    updates: Array = quantity("updates of the params done", dims=("epoch",), unit="updates")
    train_loss: Array = quantity("loss on the whole training split, eval mode", dims=("epoch",), unit="loss")
    train_accuracy: Array = quantity("accuracy on the whole training split, eval mode", dims=("epoch",))
    test_loss: Array = quantity("loss on the test split", dims=("epoch",), unit="loss")
    test_accuracy: Array = quantity("accuracy on the test split", dims=("epoch",))
    learning_rate: Array = quantity("learning rate of the epoch's last update", dims=("epoch",))
    distance: Array = quantity("Euclidean distance of the params from the initial point", dims=("epoch",), unit="param")
    seconds: Array = quantity("wall-clock time spent training so far", dims=("epoch",), unit="s", of_run=True)
    initial_params: Array | None = quantity("the params before the first update", dims=("param",), optional=True)

    def problems(self) -> list[str]:
        rising = (np.diff(self.epoch) > 0).all() and (np.diff(self.updates) >= 0).all()
        return [] if rising else ["epochs or updates do not rise from row to row"]
