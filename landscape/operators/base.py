"""The abstract operator: a symmetric matrix known by its products. The one abstract class of the library."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator
from torch import Tensor


class AbstractOperator(ABC):
    """A symmetric linear map on R^n. Algorithms know this class and no other."""

    name: str
    size: int
    dtype: torch.dtype
    device: torch.device
    loss: float | None = None
    num_samples: int | None = None

    @abstractmethod
    def matvec(self, vector: Tensor) -> Tensor:
        """A v for v of shape (n,)."""

    @abstractmethod
    def identity(self) -> Mapping[str, Any]:
        """What fixes the matrix, as JSON-able values, for digests."""

    @abstractmethod
    def self_check(self, seed: int) -> Mapping[str, Any]:
        """Evidence that `matvec` is right; NumericalError where it is contradicted."""

    def matmat(self, matrix: Tensor) -> Tensor:
        """A X for X of shape (n, s), column by column."""
        return torch.stack([self.matvec(column) for column in matrix.T], dim=1)

    def dense(self) -> Tensor:
        """The matrix (n, n), symmetrised. n products and n^2 numbers: for small n."""
        matrix = self.matmat(torch.eye(self.size, dtype=self.dtype, device=self.device))
        return (matrix + matrix.T) / 2


def to_scipy(operator: AbstractOperator) -> LinearOperator:
    """The operator for scipy.sparse.linalg (eigsh, cg ...); each product passes through the CPU."""

    def matvec(vector: np.ndarray) -> np.ndarray:
        tensor = torch.as_tensor(vector.reshape(-1), dtype=operator.dtype, device=operator.device)
        return operator.matvec(tensor).cpu().numpy()

    dtype = np.dtype(str(operator.dtype).removeprefix("torch."))
    shape = (operator.size, operator.size)
    # rmatvec: the matrix is symmetric
    return LinearOperator(shape, matvec=matvec, rmatvec=matvec, dtype=dtype)  # pyright: ignore[reportCallIssue]
