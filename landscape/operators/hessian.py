"""The Hessian of an objective."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ..objective import Objective
from .base import AbstractOperator
from .selfcheck import check_hessian


class Hessian(AbstractOperator):
    """d^2 L / dw^2 of an Objective, by its HVP (double backward). A product costs about four gradient passes."""

    name = "hessian"

    def __init__(self, objective: Objective) -> None:
        self.objective = objective
        self.size = objective.layout.size
        self.dtype, self.device = objective.dtype, objective.device
        self.num_samples = objective.num_samples
        self.loss = objective.value()

    def matvec(self, vector: Tensor) -> Tensor:
        return self.objective.hvp(vector)

    def identity(self) -> Mapping[str, Any]:
        return self.objective.identity

    def self_check(self, seed: int) -> Mapping[str, Any]:
        return check_hessian(self.objective, seed)
