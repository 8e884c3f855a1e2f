"""Hutch++: the large eigenvalues exactly, the rest by Hutchinson."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..operators import AbstractOperator
from .exact import exact
from .sums import MIN_PROBES, Budget, Estimate, mean_and_error, norm_and_error, rademacher

FIRST_SKETCH = 10  # columns of the first sketch


def hutchpp(operator: AbstractOperator, budget: Budget, generator: torch.Generator) -> Estimate:
    """tr A = tr Q'AQ + E g'(I - QQ')A(I - QQ')g, Q a basis of A S for random S (Meyer et al. 2021, algorithm 1).

    The sketch doubles as long as the probes that are lacking would cost more than that (in the spirit of Persson,
    Cortinovis & Kressner 2022). Probes are kept with their products, so a larger sketch needs no new ones: memory
    2 (sketch + probes) vectors of float64.
    """
    n = operator.size
    if n <= budget.max_matvecs and n <= 2 * FIRST_SKETCH + MIN_PROBES:
        return exact(operator, budget)
    sketch = _Sketch(operator, budget, generator)
    sketch.grow(min(FIRST_SKETCH, max(1, budget.left() // 4)))
    sketch.probe(min(MIN_PROBES, budget.left()))
    while True:
        value, error, target = sketch.reached()
        budget.told(error / (abs(value) or 1.0))
        converged = sketch.num_probes >= MIN_PROBES and error <= target
        if converged or budget.left() < 1:
            return sketch.estimate(converged)
        lacking = math.ceil(sketch.num_probes * ((error / max(target, 1e-300)) ** 2 - 1))
        doubling = sketch.basis.shape[1]
        if n <= budget.left() and n < lacking:
            return exact(operator, budget)
        if lacking > 2 * doubling and 2 * doubling <= budget.left() and 2 * doubling < n:
            sketch.grow(doubling)
        else:
            sketch.probe(min(max(1, lacking), MIN_PROBES, budget.left()))


class _Sketch:
    def __init__(self, operator: AbstractOperator, budget: Budget, generator: torch.Generator) -> None:
        self.operator, self.budget, self.generator = operator, budget, generator
        empty = torch.zeros(operator.size, 0, dtype=torch.float64, device=operator.device)
        self.basis = self.of_basis = self.probes = self.of_probes = empty

    @property
    def num_probes(self) -> int:
        return self.probes.shape[1]

    def grow(self, columns: int) -> None:
        image = self.budget.multiply(self.operator, rademacher(self.operator, columns, self.generator))
        for _ in range(2):
            image = image - self.basis @ (self.basis.T @ image)
        fresh = torch.linalg.qr(image)[0]
        fresh = torch.linalg.qr(fresh - self.basis @ (self.basis.T @ fresh))[0]
        self.basis = torch.cat([self.basis, fresh], dim=1)
        self.of_basis = torch.cat([self.of_basis, self.budget.multiply(self.operator, fresh)], dim=1)

    def probe(self, count: int) -> None:
        if count < 1:
            return
        fresh = rademacher(self.operator, count, self.generator)
        self.probes = torch.cat([self.probes, fresh], dim=1)
        self.of_probes = torch.cat([self.of_probes, self.budget.multiply(self.operator, fresh)], dim=1)

    def _rest(self) -> Tensor:
        """g'(I - QQ')A(I - QQ')g of each probe."""
        inside = self.basis.T @ self.probes
        square = self.basis.T @ self.of_basis
        whole = (self.probes * self.of_probes).sum(0)
        cross = (inside * (self.of_basis.T @ self.probes)).sum(0)
        return whole - 2 * cross + (inside * (square @ inside)).sum(0)

    def reached(self) -> tuple[float, float, float]:
        """Trace, its standard error, and the error asked for."""
        rest, error = mean_and_error(self._rest())
        value = float((self.basis * self.of_basis).sum()) + rest
        norm = norm_and_error(self.of_probes.square().sum(0))[0]
        return value, error, self.budget.target(value, norm)

    def estimate(self, converged: bool) -> Estimate:
        value, error, _ = self.reached()
        norm, norm_error = norm_and_error(self.of_probes.square().sum(0))
        return Estimate(value, error, norm, norm_error, self.budget.spent, self.num_probes, converged)
