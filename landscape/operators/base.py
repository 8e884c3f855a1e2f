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
    num_classes: int | None = None

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

    def gradient(self) -> Tensor | None:
        """The gradient (n,) at the operator's point, float64; None where it has none."""
        return None

    def report(self) -> Mapping[str, Any]:
        """How products are made, for the results; empty where there is nothing to tell."""
        return {}

    def conditions(self) -> Mapping[str, Any]:
        """What fixes the bits of a product besides the identity: its path, block and chunk, as they are now."""
        return {}

    def pin(self, conditions: Mapping[str, Any]) -> None:  # noqa: B027 - most operators have nothing to choose
        """Takes up the conditions of an earlier run, before the first product."""

    def settings(self, kind: str, version: int, **given: Any) -> dict[str, Any]:
        """What identifies a result of this kind, made by an estimator of this version with these arguments."""
        return {"kind": kind, "version": version, "operator": self.name, **given, **self.identity()}

    def described(self, check: Mapping[str, Any]) -> dict[str, Any]:
        """The fields that every result about an operator has, `check` being its self-check."""
        plain = {key: float(value) if isinstance(value, float) else value for key, value in check.items()}
        return {
            "operator": self.name,
            "num_params": self.size,
            "num_samples": self.num_samples,
            "loss": self.loss,
            "self_check": plain,
            "hvp": self.report(),
        }

    def blocks(self) -> Mapping[str, slice]:
        """Where the params' tensors lie in a vector, by name; one block `all` where there are none."""
        return {"all": slice(0, self.size)}

    def to_scipy(self) -> LinearOperator:
        """The operator for scipy.sparse.linalg (eigsh, cg ...); each product passes through the CPU."""

        def matvec(vector: np.ndarray) -> np.ndarray:
            return self.matvec(self._tensor(vector.reshape(-1))).cpu().numpy()

        def matmat(matrix: np.ndarray) -> np.ndarray:
            return self.matmat(self._tensor(matrix)).cpu().numpy()

        dtype = np.dtype(str(self.dtype).removeprefix("torch."))
        # rmatvec: the matrix is symmetric
        functions: dict[str, Any] = {"matvec": matvec, "rmatvec": matvec, "matmat": matmat}
        return LinearOperator((self.size, self.size), dtype=dtype, **functions)  # pyright: ignore[reportCallIssue]

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.as_tensor(np.ascontiguousarray(array), dtype=self.dtype, device=self.device)
