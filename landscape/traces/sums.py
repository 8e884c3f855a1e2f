"""What the estimators of a trace share: probes, what is known after some of them, and when to stop."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import NumericalError
from ..operators import AbstractOperator

MIN_PROBES = 30  # below this a standard error is no more than a guess
BLOCK = 8  # probes multiplied in one call

Progress = Callable[[int, float], None]


@dataclass(frozen=True)
class Estimate:
    """A trace with its standard error, and what else the products tell. Diagonals are (n,), float64."""

    value: float
    stderr: float
    frobenius: float
    frobenius_stderr: float
    num_matvecs: int
    num_probes: int
    converged: bool
    diagonal: Tensor | None = None
    diagonal_stderr: Tensor | None = None
    per_probe: Tensor | None = None  # parts of the trace by block, (probes, blocks)


@dataclass
class Budget:
    """How far to go: a relative standard error, and products."""

    tol: float
    max_matvecs: int
    progress: Progress | None = None
    spent: int = 0
    of: str = "trace"  # whose error counts: or that of the Frobenius norm

    def target(self, value: float, frobenius: float) -> float:
        """The standard error asked for: relative to the trace, or to |A|_F where the trace is smaller than that."""
        return self.tol * max(abs(value), frobenius)

    def left(self) -> int:
        """Products that may still be spent."""
        return self.max_matvecs - self.spent

    def multiply(self, operator: AbstractOperator, block: Tensor) -> Tensor:
        """A X in float64 for X (n, s), counted; NumericalError where it is not finite."""
        pieces = []
        for piece in block.split(BLOCK, dim=1):
            pieces.append(operator.matmat(piece.to(operator.dtype)).double())
            self.spent += piece.shape[1]
            if self.progress:
                self.progress(self.spent, math.nan)
        products = torch.cat(pieces, dim=1)
        if not bool(torch.isfinite(products).all()):
            raise NumericalError("a matrix-vector product is not finite; are the params and the loss?")
        return products

    def told(self, relative: float) -> None:
        """Reports the relative standard error reached."""
        if self.progress:
            self.progress(self.spent, relative)


def rademacher(operator: AbstractOperator, count: int, generator: torch.Generator) -> Tensor:
    """Columns of independent signs (n, count), drawn on the CPU, float64."""
    signs = torch.randint(0, 2, (count, operator.size), generator=generator, dtype=torch.int8)
    return (2 * signs.T.to(operator.device) - 1).double()


def sphere(operator: AbstractOperator, count: int, generator: torch.Generator) -> Tensor:
    """Columns (n, count) uniform on the sphere of radius sqrt(n), drawn on the CPU, float64."""
    drawn = torch.randn(count, operator.size, generator=generator, dtype=torch.float64)
    drawn *= math.sqrt(operator.size) / drawn.norm(dim=1, keepdim=True)
    return drawn.T.to(operator.device)


def mean_and_error(values: Tensor) -> tuple[float, float]:
    """Mean and its standard error of independent values (m,)."""
    return float(values.mean()), float(values.std() / math.sqrt(len(values)))


def norm_and_error(products: Tensor) -> tuple[float, float]:
    """|A|_F and its standard error from |A v|^2 of probes with E v v' = I: the expectation of these is |A|_F^2."""
    mean, error = mean_and_error(products)
    norm = math.sqrt(max(mean, 0.0))
    return norm, error / (2 * norm) if norm else 0.0
