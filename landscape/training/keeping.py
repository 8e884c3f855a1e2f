"""Which tensors a run keeps: the last, the best so far, or an average of the weights along the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..recipe import Recipe
from . import lists


class Kept:
    """What is kept besides the params themselves; `state` is all of it.

    swa: the mean of the points at the measurements from `average_from` on (Izmailov et al. 2018, algorithm 1).
    ema: a = d a + (1 - d) w after each update from there on (Polyak & Juditsky 1992 with exponential weights), from
    the first such w. Patience: the tensors of the best measurement.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.average: list[Tensor] = []
        self.count = 0  # points in the average
        self.best: dict[str, Any] = {}
        self.worse = 0  # measurements since the best
        self.before: dict[str, Any] | None = None  # the state before a measurement that a longer run would not make

    @property
    def state(self) -> dict[str, Any]:
        """All of it, on the CPU, as a longer run would have it here."""
        if self.before is not None:
            return self.before
        best = dict(self.best)
        if best:
            best["tensors"] = {name: tensor.detach().cpu() for name, tensor in best["tensors"].items()}
        return {
            "average": [a.cpu().clone() for a in self.average],
            "count": self.count,
            "best": best,
            "worse": self.worse,
        }

    def restore(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Takes up `state`."""
        self.average = [a.to(device) for a in state["average"]]
        self.count, self.best, self.worse = state["count"], dict(state["best"]), state["worse"]

    def after_update(self, values: Sequence[Tensor], clock: float) -> None:
        """Moves an exponential average."""
        if self.recipe.average != "ema" or clock < self.recipe.average_from:
            return
        if not self.average:
            self.average = [v.clone() for v in values]
        else:
            lists.lerp_(self.average, values, 1 - self.recipe.average_decay)
        self.count += 1

    def after_row(
        self,
        row: Mapping[str, float],
        values: Sequence[Tensor],
        clock: float,
        tensors: Callable[[], dict[str, Tensor]],
        *,
        last: bool,
    ) -> None:
        """Moves a plain average; notes the best measurement. `last`: it is made only because the run ends here."""
        self.before = self.state if last else None
        if self.recipe.average == "swa" and row["updates"] > 0 and clock >= self.recipe.average_from:
            if not self.average:
                self.average = [v.clone() for v in values]
            else:
                lists.lerp_(self.average, values, 1 / (self.count + 1))
            self.count += 1
        if self.recipe.patience is None:
            return
        value = row[self.recipe.monitor] * (-1 if self.recipe.monitor.endswith("accuracy") else 1)
        if not self.best or value < self.best["value"]:
            self.best = {"value": value, "row": dict(row), "tensors": tensors()}
            self.worse = 0
        else:
            self.worse += 1

    @property
    def exhausted(self) -> bool:
        """Whether patience is at its end."""
        return self.recipe.patience is not None and self.worse >= self.recipe.patience
