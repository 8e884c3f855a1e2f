"""An operator on the complement of some vectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from ..vectors import digest_of
from .base import AbstractOperator


class Deflated(AbstractOperator):
    """(I - V V') A (I - V V'): A without the span of the columns of V (n, k), e.g. eigenvectors that are known.

    V is orthonormalised. A product costs one of A and 4 n k flops. InputError where V does not fit.
    """

    name = "deflated"

    def __init__(self, operator: AbstractOperator, vectors: Tensor) -> None:
        if vectors.dim() != 2 or vectors.shape[0] != operator.size or vectors.shape[1] > operator.size:
            shape = tuple(vectors.shape)
            raise InputError(f"vectors to deflate must be columns of length {operator.size}, got shape {shape}")
        self.inner = operator
        self.size, self.dtype, self.device = operator.size, operator.dtype, operator.device
        self.loss, self.num_samples = operator.loss, operator.num_samples
        self.vectors = torch.linalg.qr(vectors.to(self.device, self.dtype))[0]

    def project(self, matrix: Tensor) -> Tensor:
        """The part of the columns of `matrix` orthogonal to V."""
        return matrix - self.vectors @ (self.vectors.T @ matrix)

    def matvec(self, vector: Tensor) -> Tensor:
        return self.project(self.inner.matvec(self.project(vector)))

    def matmat(self, matrix: Tensor) -> Tensor:
        return self.project(self.inner.matmat(self.project(matrix)))

    def identity(self) -> Mapping[str, Any]:
        inner = [self.inner.name, dict(self.inner.identity())]
        return {"inner": inner, "deflated": digest_of({"": self.vectors})}

    def self_check(self, seed: int) -> Mapping[str, Any]:
        return self.inner.self_check(seed)

    def report(self) -> Mapping[str, Any]:
        return self.inner.report()
