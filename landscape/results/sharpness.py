"""Sharpness measures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .base import Result, Status, quantity


@dataclass(frozen=True, kw_only=True, eq=False)
class Sharpness(Result):
    """One sharpness measure at one point. The train loss stands beside it, since sharpness follows it."""

    kind: ClassVar[str] = "sharpness"
    measure: str = quantity("the definition")
    space: str = quantity("the space that is searched: full or random")
    value: float = quantity("the measure", unit="percent of 1 + loss")
    stderr: float | None = quantity("standard error over random subspaces", optional=True)
    epsilon: float = quantity("half-width of the box, relative to |x| + 1")
    loss: float = quantity("the objective at the centre", unit="loss")
    max_loss: float = quantity("the largest objective found in the box", unit="loss")
    iterations: int = quantity("L-BFGS-B iterations done")
    num_evaluations: int = quantity("evaluations of value and gradient", unit="gradient passes")
    on_boundary: float = quantity("share of the coordinates that end on a face of the box")
    displaced_start: bool = quantity("whether the search started off centre, the gradient there being zero")
    num_params: int = quantity("size of the space", unit="params")
    num_samples: int = quantity("samples in the objective", unit="samples")

    def problems(self) -> list[str]:
        if self.status is Status.COMPLETE and not np.isfinite([self.value, self.loss, self.max_loss]).all():
            return ["it counts as complete, but holds numbers that are not finite"]
        return ["the largest loss in the box lies below that at its centre"] if self.max_loss < self.loss else []
