"""The logs of a run in progress: rows of measurements, rows of updates, tracked measures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..recipe import Recipe
from ..results import Status, Tracked, Training, Updates

ROW = (
    "epoch",
    "updates",
    "samples",
    "train_loss",
    "train_accuracy",
    "test_loss",
    "test_accuracy",
    "learning_rate",
    "batch_size",
    "gradient_norm",
    "weight_norm",
    "distance",
    "seconds",
)
ON_HOST = ("update", "samples", "learning_rate", "batch_size", "seconds")
ON_DEVICE = ("loss", "accuracy", "gradient_norm", "weight_norm", "distance")
VERSION = 2


class Logs:
    """All that a run writes down."""

    def __init__(self) -> None:
        self.rows: dict[str, list[float]] = {name: [] for name in ROW}
        self.updates: dict[str, list[float]] = {name: [] for name in (*ON_HOST, *ON_DEVICE)}
        self.tracked: dict[str, list[dict[str, float]]] = {}
        self._waiting: list[Tensor] = []  # of updates, still on the device

    def row(self, values: Mapping[str, float]) -> None:
        """Adds a row."""
        for name in ROW:
            self.rows[name].append(float(values[name]))

    def update(self, host: Mapping[str, float], device: Sequence[Tensor]) -> None:
        """Adds an update; what is on the device stays there until `gather`."""
        for name in ON_HOST:
            self.updates[name].append(float(host[name]))
        self._waiting.append(torch.stack([value.detach().double() for value in device]))

    def gather(self) -> None:
        """Brings over what waits on the device: one synchronisation for all of it."""
        if self._waiting:
            columns = torch.stack(self._waiting).cpu().T.tolist()
            for name, values in zip(ON_DEVICE, columns, strict=True):
                self.updates[name] += values
            self._waiting = []

    def restore(
        self,
        rows: Mapping[str, list[float]],
        updates: Mapping[str, list[float]],
        tracked: Mapping[str, list[dict[str, float]]],
        done: int,
    ) -> None:
        """Takes up what an earlier part of the run wrote down, after so many updates.

        Updates that do not reach there, for a part of the run kept no log of them, are left out.
        """
        self.rows = {name: list(values) for name, values in rows.items()}
        self.updates = {name: list(values) for name, values in updates.items()}
        if self.updates["update"][-1:] != [done]:
            self.updates = {name: [] for name in self.updates}
        self.tracked = {name: [dict(row) for row in found] for name, found in tracked.items()}

    # -- as results

    def training(self, recipe: Recipe, initial: Tensor, status: Status, kept: Mapping[str, Any]) -> Training:
        """The measurements."""
        columns: dict[str, Any] = {name: np.array(values) for name, values in self.rows.items()}
        return Training(
            status=status,
            settings={"kind": Training.kind, "version": VERSION, "recipe": recipe.to_json()},
            initial_params=initial.cpu().numpy(),
            kept=dict(kept),
            **columns,
        )

    def each_update(self, recipe: Recipe, status: Status) -> Updates | None:
        """The updates, where they were written down."""
        if not self.updates["update"]:
            return None
        columns: dict[str, Any] = {name: np.array(values) for name, values in self.updates.items()}
        settings = {"kind": Updates.kind, "version": VERSION, "recipe": recipe.to_json()}
        return Updates(status=status, settings=settings, **columns)

    def measures(self, recipe: Recipe, status: Status) -> tuple[Tracked, ...]:
        """The tracked measures."""
        found = []
        for name, rows in self.tracked.items():
            columns = [key for key in rows[0] if key not in ("epoch", "updates")]
            found.append(
                Tracked(
                    status=status,
                    settings={"kind": Tracked.kind, "version": VERSION, "measure": name, "recipe": recipe.to_json()},
                    measure=name,
                    epoch=np.array([row["epoch"] for row in rows]),
                    updates=np.array([row["updates"] for row in rows]),
                    values=np.array([[row.get(key, math.nan) for key in columns] for row in rows]),
                    columns=tuple(columns),
                )
            )
        return tuple(found)
