"""Random subspaces of the params: the matrix A (n, p) of Keskar et al. (2017), by three laws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .. import memory
from ..errors import ResourceError

BLOCK = 2**22  # numbers of the matrix that are float64 at once


@dataclass(frozen=True)
class Subspace:
    """x + A y with A (n, p) = M R^-1: M drawn, kept as float32; R the identity but for orthonormal columns.

    Products are taken in float64, block by block of rows. `factor` is R, upper triangular; `gram_factor` that of A'A.
    """

    matrix: Tensor
    factor: Tensor | None
    gram_factor: Tensor

    @classmethod
    def drawn(cls, law: str, n: int, p: int, seeds: Sequence[int], device: torch.device) -> Subspace:
        """`normal`: iid N(0, 1); `uniform`: iid U(0, 1); `orthonormal`: the Q of a normal matrix, uniform among all.

        Drawn on the CPU from `seeds`. Costs 4 n p + 24 p^2 bytes and n p^2 operations. Raises ResourceError where
        there is less than that.
        """
        refuse_large(n, p, device)
        # Seeds of one run and of one repeat must not meet: 0, 1 is another stream than 1, 0.
        words = np.random.SeedSequence(list(seeds)).generate_state(2, np.uint32)
        generator = torch.Generator().manual_seed(int(words[0]) << 31 | int(words[1]) >> 1)
        draw = torch.rand if law == "uniform" else torch.randn
        try:
            matrix = draw(n, p, generator=generator, dtype=torch.float32).to(device)
        except (RuntimeError, MemoryError) as error:
            if not memory.out_of_memory(error):
                raise
            raise _too_large(n, p) from error
        gram = torch.zeros(p, p, dtype=torch.float64, device=device)
        for rows in matrix.split(max(1, BLOCK // p)):
            gram += rows.double().T @ rows.double()
        factor = torch.linalg.cholesky(gram, upper=True)
        if law == "orthonormal":
            return cls(matrix, factor, torch.eye(p, dtype=torch.float64, device=device))
        return cls(matrix, None, factor)

    def into_params(self, y: Tensor) -> Tensor:
        """A y (n,)."""
        inner = y if self.factor is None else _solved(self.factor, y)
        return torch.cat([rows.double() @ inner for rows in self.matrix.split(max(1, BLOCK // len(y)))])

    def adjoint(self, x: Tensor) -> Tensor:
        """A' x (p,)."""
        p = self.matrix.shape[1]
        step = max(1, BLOCK // p)
        parts = zip(self.matrix.split(step), x.split(step), strict=True)
        total = torch.zeros(p, dtype=torch.float64, device=x.device)
        for rows, part in parts:
            total += rows.double().T @ part
        return total if self.factor is None else _solved(self.factor.T, total, upper=False)

    def pseudo_inverse(self, x: Tensor) -> Tensor:
        """A^+ x = (A'A)^-1 A'x (p,)."""
        return torch.cholesky_solve(self.adjoint(x)[:, None], self.gram_factor, upper=True)[:, 0]


def refuse_large(n: int, p: int, device: torch.device) -> None:
    """ResourceError where a subspace does not fit into the memory that is free, before anything is drawn."""
    free = memory.free_bytes(device)
    if _needed(n, p) > free:
        raise _too_large(n, p, f", and {free / 2**30:.3g} GiB are free")


def _needed(n: int, p: int) -> int:
    """Bytes: the matrix in float32; its Gram matrix, the factor of that and what an operation on them takes."""
    return 4 * n * p + 24 * p**2


def _too_large(n: int, p: int, also: str = "") -> ResourceError:
    needed = _needed(n, p) / 2**30
    return ResourceError(f"a subspace takes {needed:.3g} GiB{also}; use a smaller --dimension than {p}")


def _solved(triangle: Tensor, right: Tensor, *, upper: bool = True) -> Tensor:
    return torch.linalg.solve_triangular(triangle, right[:, None], upper=upper)[:, 0]
