"""A matrix that is at hand, as an operator: what algorithms are tested on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ..errors import InputError
from ..vectors import digest_of
from .base import AbstractOperator


class Dense(AbstractOperator):
    """A symmetric matrix (n, n)."""

    name = "dense"

    def __init__(self, matrix: Tensor) -> None:
        if matrix.dim() != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.allclose(matrix.T):
            raise InputError(f"a Dense operator needs a symmetric matrix, got shape {tuple(matrix.shape)}")
        self.matrix = matrix
        self.size, self.dtype, self.device = matrix.shape[0], matrix.dtype, matrix.device

    def matvec(self, vector: Tensor) -> Tensor:
        return self.matrix @ vector

    def matmat(self, matrix: Tensor) -> Tensor:
        return self.matrix @ matrix

    def identity(self) -> Mapping[str, Any]:
        return {"matrix": digest_of({"": self.matrix})}

    def self_check(self, seed: int) -> Mapping[str, Any]:  # noqa: ARG002 - nothing to draw: symmetry was checked
        return {"verdict": "agrees"}
