"""The trace without error, by products with a whole orthonormal basis: where probes would need as many."""

from __future__ import annotations

import torch
from torch import Tensor

from ..operators import AbstractOperator
from .sums import Budget, Estimate


def exact(operator: AbstractOperator, budget: Budget, known: tuple[Tensor, Tensor] | None = None) -> Estimate:
    """Trace, diagonal and norm from n products in all; `known` are vectors (n, m) and their products, used again.

    sum_j q_j (A q_j)' = A for any orthonormal basis; the known vectors are the start of one. O(n^2) memory.
    """
    identity = torch.eye(operator.size, dtype=torch.float64, device=operator.device)
    if known is None:
        basis, products = identity, budget.multiply(operator, identity)
    else:
        vectors, found = known
        basis, upper = torch.linalg.qr(vectors, mode="complete")
        count = vectors.shape[1]
        first = torch.linalg.solve_triangular(upper[:count], found, upper=True, left=False)
        products = torch.cat([first, budget.multiply(operator, basis[:, count:])], dim=1)
    diagonal = (basis * products).sum(1)
    return Estimate(
        value=float(diagonal.sum()),
        stderr=0.0,
        frobenius=float(products.norm()),
        frobenius_stderr=0.0,
        num_matvecs=budget.spent,
        num_probes=0,
        converged=True,
        diagonal=diagonal,
        diagonal_stderr=torch.zeros_like(diagonal),
    )
