"""Hutchinson's estimator."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..operators import AbstractOperator
from .exact import exact
from .sums import BLOCK, MIN_PROBES, Budget, Estimate, mean_and_error, norm_and_error, rademacher


def hutchinson(
    operator: AbstractOperator, budget: Budget, generator: torch.Generator, blocks: Sequence[slice] = ()
) -> Estimate:
    """tr A = E v'Av over vectors v of random signs (Hutchinson 1990); its diagonal is E v * Av (Bekas et al. 2007).

    Variance of one probe: 2 (|A|_F^2 - sum_i a_ii^2). With `blocks`, the parts of the trace too. Where the probes
    needed would be more than n, a basis that the first of them begin is completed, and the result is exact. They are
    as many as the error of the trace needs, or that of |A|_F where the budget is of it.
    """
    n = operator.size
    completable = n <= budget.max_matvecs
    sums = _Sums(operator, blocks, keep=completable)
    while True:
        wanted = MIN_PROBES if sums.count < MIN_PROBES else sums.needed(budget)
        if completable and wanted >= n:
            return exact(operator, budget, sums.known())
        if (sums.count >= MIN_PROBES and wanted <= sums.count) or budget.left() < 1:
            return sums.estimate(budget, converged=sums.count >= MIN_PROBES and wanted <= sums.count)
        fresh = min(BLOCK, wanted - sums.count, budget.left())
        probes = rademacher(operator, fresh, generator)
        sums.add(probes, budget.multiply(operator, probes))
        if sums.count > 1:
            value, error = mean_and_error(torch.cat(sums.values))
            budget.told(error / (abs(value) or 1.0))


class _Sums:
    def __init__(self, operator: AbstractOperator, blocks: Sequence[slice], *, keep: bool) -> None:
        self.blocks, self.keep, self.count = blocks, keep, 0
        self.diagonal = torch.zeros(operator.size, dtype=torch.float64, device=operator.device)
        self.squares = torch.zeros_like(self.diagonal)
        self.values: list[Tensor] = []
        self.norms: list[Tensor] = []
        self.parts: list[Tensor] = []
        self.pairs: list[tuple[Tensor, Tensor]] = []

    def add(self, probes: Tensor, products: Tensor) -> None:
        entries = probes * products
        self.count += probes.shape[1]
        self.diagonal += entries.sum(1)
        self.squares += entries.square().sum(1)
        self.values.append(entries.sum(0))
        self.norms.append(products.square().sum(0))
        if self.blocks:
            self.parts.append(torch.stack([entries[block].sum(0) for block in self.blocks], dim=1))
        if self.keep:
            self.pairs.append((probes, products))

    def known(self) -> tuple[Tensor, Tensor] | None:
        if not self.pairs:
            return None
        return torch.cat([p for p, _ in self.pairs], dim=1), torch.cat([a for _, a in self.pairs], dim=1)

    def needed(self, budget: Budget) -> int:
        """Probes that the standard error asked for takes, by the variance seen so far."""
        value, error = mean_and_error(torch.cat(self.values))
        norm, norm_error = norm_and_error(torch.cat(self.norms))
        target = budget.target(value, norm)
        if budget.of == "frobenius":
            error, target = norm_error, budget.tol * norm
        return self.count if error <= target else math.ceil(self.count * (error / max(target, 1e-300)) ** 2)

    def estimate(self, budget: Budget, *, converged: bool) -> Estimate:
        count = max(1, self.count)
        value, error = mean_and_error(torch.cat(self.values))
        norm, norm_error = norm_and_error(torch.cat(self.norms))
        mean = self.diagonal / count
        spread = (self.squares / count - mean.square()).clamp(min=0) / max(1, count - 1)
        per_probe = torch.cat(self.parts) if self.parts else None
        return Estimate(
            value, error, norm, norm_error, budget.spent, self.count, converged, mean, spread.sqrt(), per_probe
        )
