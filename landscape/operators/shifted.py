"""An operator plus a multiple of the identity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from .base import AbstractOperator


class Shifted(AbstractOperator):
    """A + shift I: damping for positive shifts; with minus a bound of the spectrum, its other end on top."""

    name = "shifted"

    def __init__(self, operator: AbstractOperator, shift: float) -> None:
        self.inner, self.shift = operator, float(shift)
        self.size, self.dtype, self.device = operator.size, operator.dtype, operator.device
        self.loss, self.num_samples = operator.loss, operator.num_samples

    def matvec(self, vector: Tensor) -> Tensor:
        return self.inner.matvec(vector) + self.shift * vector

    def matmat(self, matrix: Tensor) -> Tensor:
        return self.inner.matmat(matrix) + self.shift * matrix

    def identity(self) -> Mapping[str, Any]:
        return {"inner": [self.inner.name, dict(self.inner.identity())], "shift": self.shift}

    def self_check(self, seed: int) -> Mapping[str, Any]:
        return self.inner.self_check(seed)

    def report(self) -> Mapping[str, Any]:
        return self.inner.report()

    def blocks(self) -> Mapping[str, slice]:
        return self.inner.blocks()
