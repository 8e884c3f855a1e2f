"""The logs of a training run: its measurements, its updates, and measures taken along it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from .base import Array, Result, mapping, quantity

ROW = ("epoch",)
EACH = ("update",)


@dataclass(frozen=True, kw_only=True, eq=False)
class Training(Result):
    """The log of a training run: one row a measurement of the splits, the first row (epoch 0) the initial point."""

    kind: ClassVar[str] = "training"
    epoch: Array = quantity("epochs done: passes over the training samples", dims=ROW, unit="epochs")
    updates: Array = quantity("updates of the params done", dims=ROW, unit="updates")
    samples: Array | None = quantity("samples seen", dims=ROW, unit="samples", optional=True)
    train_loss: Array = quantity("loss on the whole training split, eval mode", dims=ROW, unit="loss")
    train_accuracy: Array = quantity("accuracy on the whole training split, eval mode", dims=ROW)
    test_loss: Array = quantity("loss on the test split", dims=ROW, unit="loss")
    test_accuracy: Array = quantity("accuracy on the test split", dims=ROW)
    learning_rate: Array = quantity("learning rate of the last update", dims=ROW)
    batch_size: Array | None = quantity("samples of the last whole batch", dims=ROW, unit="samples", optional=True)
    gradient_norm: Array | None = quantity(
        "Euclidean norm of the gradient of the last update's batch; nan before the first", dims=ROW, optional=True
    )
    weight_norm: Array | None = quantity("Euclidean norm of the params", dims=ROW, unit="param", optional=True)
    distance: Array = quantity("Euclidean distance of the params from the initial point", dims=ROW, unit="param")
    seconds: Array = quantity("wall-clock time spent training so far", dims=ROW, unit="s", of_run=True)
    initial_params: Array | None = quantity("the params before the first update", dims=("param",), optional=True)
    kept: Mapping[str, Any] | None = mapping(
        "the tensors that the checkpoint holds: last, best, swa or ema; their metrics", optional=True
    )

    def problems(self) -> list[str]:
        rising = (np.diff(self.epoch) > 0).all() and (np.diff(self.updates) >= 0).all()
        return [] if rising else ["epochs or updates do not rise from row to row"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Updates(Result):
    """The log of every update: its batch's loss and gradient before the update, the params after it."""

    kind: ClassVar[str] = "updates"
    update: Array = quantity("number of the update, from 1", dims=EACH, unit="updates")
    samples: Array = quantity("samples seen after the update", dims=EACH, unit="samples")
    loss: Array = quantity("loss of the batch, in training mode, before the update", dims=EACH, unit="loss")
    accuracy: Array = quantity("accuracy on the batch, in training mode, before the update", dims=EACH)
    gradient_norm: Array = quantity("Euclidean norm of the batch's gradient, before clipping", dims=EACH)
    learning_rate: Array = quantity("learning rate", dims=EACH)
    batch_size: Array = quantity("samples of the batch", dims=EACH, unit="samples")
    weight_norm: Array = quantity("Euclidean norm of the params", dims=EACH, unit="param")
    distance: Array = quantity("Euclidean distance of the params from the initial point", dims=EACH, unit="param")
    seconds: Array = quantity(
        "wall-clock time so far; of the host, which a GPU lags behind", dims=EACH, unit="s", of_run=True
    )

    def problems(self) -> list[str]:
        return [] if (np.diff(self.update) == 1).all() else ["updates are not numbered one after another"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Tracked(Result):
    """A measure taken along a run: a row of values at each of some epochs."""

    kind: ClassVar[str] = "tracked"
    measure: str = quantity("what was measured")
    epoch: Array = quantity("epochs done", dims=ROW, unit="epochs")
    updates: Array = quantity("updates of the params done", dims=ROW, unit="updates")
    values: Array = quantity("the values, a column for each name", dims=("epoch", "column"))
    columns: tuple[str, ...] = field(metadata={"about": "names of the columns"})

    def column(self, name: str) -> Array:
        """The values of one name, (epochs,). Raises KeyError."""
        if name not in self.columns:
            raise KeyError(f"no column {name!r}; there are {', '.join(self.columns)}")
        return self.values[:, self.columns.index(name)]

    def problems(self) -> list[str]:
        wide = self.values.ndim == 2 and self.values.shape[1] == len(self.columns)
        return [] if wide else ["the columns and their names differ in number"]
