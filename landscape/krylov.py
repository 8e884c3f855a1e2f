"""Lanczos on the operator's device: an orthonormal basis that grows, is restarted, and yields Ritz pairs.

The basis V (rows are vectors) and the projected matrix T = V A V' are kept together, so that V may hold any
orthonormal vectors: kept Ritz vectors after a restart, or a fresh random start among them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from .errors import NumericalError
from .operators import AbstractOperator


@dataclass
class Basis:
    """An orthonormal basis of at most `capacity` vectors and the operator's projection on it."""

    operator: AbstractOperator
    capacity: int
    num_matvecs: int = 0
    count: int = 0  # vectors whose products are in the projection
    rows: Tensor = field(init=False)  # (capacity + 1, n); row `count` is the next vector to multiply
    projected: Tensor = field(init=False)  # (capacity, capacity) float64 on the CPU
    coupling: float = field(init=False, default=0.0)  # norm of the last product's part outside the basis

    def __post_init__(self) -> None:
        shape = (self.capacity + 1, self.operator.size)
        self.rows = torch.zeros(shape, dtype=self.operator.dtype, device=self.operator.device)
        self.projected = torch.zeros(self.capacity, self.capacity, dtype=torch.float64)

    def start(self, generator: torch.Generator) -> None:
        """Sets the next vector to a random one (drawn on the CPU) orthogonal to the basis."""
        vector = torch.randn(self.operator.size, generator=generator, dtype=torch.float64)
        vector = vector.to(self.rows.device, self.rows.dtype)
        vector, _, norm = self._orthogonalise(vector / vector.norm(), self.count)
        self.rows[self.count] = vector / norm

    def expand(self) -> None:
        """One Lanczos step: multiplies the next vector, projects the product, and orthogonalises what is left."""
        j = self.count
        product = self.operator.matvec(self.rows[j])
        self.num_matvecs += 1
        left, overlaps, norm = self._orthogonalise(product, j + 1)
        if not bool(torch.isfinite(norm)):
            raise NumericalError("a matrix-vector product is not finite; are the params and the loss?")
        self.projected[: j + 1, j] = self.projected[j, : j + 1] = overlaps.double().cpu()
        self.count, self.coupling = j + 1, float(norm)
        if self.coupling > torch.finfo(self.rows.dtype).eps * float(self.projected.abs().max()):
            self.rows[j + 1] = left / norm
        else:
            self.coupling = 0.0  # the basis spans an invariant subspace

    def _orthogonalise(self, vector: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """The part of `vector` orthogonal to the first rows, its overlaps with them, and that part's norm.

        Two passes of classical Gram-Schmidt are enough for full orthogonality (Giraud et al. 2005).
        """
        rows = self.rows[:count]
        overlaps = rows @ vector
        vector = vector - overlaps @ rows
        correction = rows @ vector
        vector = vector - correction @ rows
        return vector, overlaps + correction, vector.norm()

    def ritz(self) -> tuple[Tensor, Tensor]:
        """Ritz values, descending, and the coefficients of their vectors in the basis (columns)."""
        values, coefficients = torch.linalg.eigh(self.projected[: self.count, : self.count])
        return values.flip(0), coefficients.flip(1)

    def vectors(self, coefficients: Tensor) -> Tensor:
        """Ritz vectors (k, n) of the columns of `coefficients` (count, k)."""
        return coefficients.T.to(self.rows.device, self.rows.dtype) @ self.rows[: self.count]

    def restart(self, values: Tensor, coefficients: Tensor) -> None:
        """Thick restart (Wu & Simon 2000): keeps these Ritz pairs and the next vector, drops the rest."""
        kept = self.vectors(coefficients)
        following = self.rows[self.count].clone()
        self.count = len(values)
        self.rows[: self.count] = kept
        self.rows[self.count] = following
        self.projected.zero_()
        self.projected[: self.count, : self.count] = torch.diag(values)
