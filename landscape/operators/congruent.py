"""An operator in other units of the params."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from ..vectors import digest_of
from .base import AbstractOperator


class Congruent(AbstractOperator):
    """B A B for a symmetric matrix B, such as the diagonal of the weights' sizes.

    A product costs one of A and two of B.

    Args:
        operator: A.
        by: B X for X of shape (n, s), in the type of A.
        key: what fixes B, as JSON-able values.
    """

    name = "congruent"

    def __init__(self, operator: AbstractOperator, by: Callable[[Tensor], Tensor], key: Mapping[str, Any]) -> None:
        self.inner, self.by, self.key = operator, by, key
        self.size, self.dtype, self.device = operator.size, operator.dtype, operator.device
        self.loss, self.num_samples, self.num_classes = operator.loss, operator.num_samples, operator.num_classes

    @classmethod
    def diagonal(cls, operator: AbstractOperator, scale: Tensor) -> Congruent:
        """B = diag(scale), scale (n,). InputError where the length does not fit."""
        if scale.shape != (operator.size,):
            raise InputError(f"a scale of {operator.size} params must be a vector of them, got {tuple(scale.shape)}")
        column = scale.to(operator.device, operator.dtype)[:, None]
        return cls(operator, lambda matrix: column * matrix, {"diagonal": digest_of({"": scale})})

    @classmethod
    def rows(cls, operator: AbstractOperator, weight: Tensor) -> Congruent:
        """B = (W W')^(1/2) (x) I for a layer W (d, ...) whose params, in their order, are the operator's.

        tr(B A B) = sum_{s,s'} <w_s, w_s'> tr A_{s,s'}, w_s the rows of W. B is applied by the singular vectors of W, so
        that d may be large. InputError where W is not of n params.
        """
        if weight.dim() < 2 or weight.numel() != operator.size:
            raise InputError(f"a layer of {operator.size} params has rows, got a tensor of {tuple(weight.shape)}")
        flat = weight.double().flatten(1)
        found = torch.linalg.svd(flat, full_matrices=False)
        columns, values = found[0].to(operator.device, operator.dtype), found[1].to(operator.device, operator.dtype)

        def root(matrix: Tensor) -> Tensor:
            of_rows = matrix.reshape(len(flat), -1)
            return (columns @ (values[:, None] * (columns.T @ of_rows))).view_as(matrix)

        return cls(operator, root, {"rows": digest_of({"": weight})})

    def matvec(self, vector: Tensor) -> Tensor:
        return self.matmat(vector[:, None])[:, 0]

    def matmat(self, matrix: Tensor) -> Tensor:
        return self.by(self.inner.matmat(self.by(matrix)))

    def identity(self) -> Mapping[str, Any]:
        return {"inner": [self.inner.name, dict(self.inner.identity())], "by": dict(self.key)}

    def self_check(self, seed: int) -> Mapping[str, Any]:
        return self.inner.self_check(seed)

    def report(self) -> Mapping[str, Any]:
        return self.inner.report()

    def blocks(self) -> Mapping[str, slice]:
        return self.inner.blocks()
