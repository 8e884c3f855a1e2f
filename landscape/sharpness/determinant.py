"""The log-determinant of a Hessian with its l2 penalty, against the penalty alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..errors import NumericalError
from ..objective import Objective
from ..operators import AbstractOperator, Hessian
from ..quadrature import spectral_density
from ..spectrum import top_eigenpairs

EXACT = 2000  # params up to which all eigenvalues are taken: about as many products as the quadrature makes
BLOCK = 64  # columns of the matrix between two calls of `progress`
PROBES, STEPS = 30, 60  # of the quadrature: 30 probes give a standard error that is more than a guess
TOL = 0.01  # error of the log-determinant, relative, that counts as converged: that of the trace
NAT = 1.0  # or this: a factor e in the evidence decides nothing
FIRST_TOL = 1e-3  # residual, of the largest value; below it only where the value cannot be told from zero
MOST_PRODUCTS, LEAST_PRODUCTS = 1000, 50  # of the search for the smallest eigenvalue; left for another attempt
# Residual, of the smallest eigenvalue: where it lies at the edge of many, one half of it hid smaller ones (measured).
SURE = 0.1
DECREMENT_TOL, DECREMENT_PRODUCTS = 0.01, 300  # of conjugate gradients

Progress = Callable[[int], None]


class NotPositive(NumericalError):
    """The regularised Hessian is not positive definite; `computed` is what `--json` prints, under this status."""

    status = "refused"

    def __init__(self, message: str, smallest: float) -> None:
        super().__init__(message)
        self.computed: Mapping[str, Any] = {"smallest_eigenvalue": smallest}


@dataclass(frozen=True)
class LogDeterminant:
    """value = sum_i ln(l_i / l2), l_i the eigenvalues of H with its penalty, in nats.

    `stderr` is that over probes plus `change`, what half the steps would have changed; `smallest` the smallest
    eigenvalue with its residual, in loss/param^2; `decrement` is g'H^-1 g of the gradient g, in loss, twice what a
    Newton step would gain, or an upper bound of it; nan without a gradient. The rest is how it was found, and the
    operator's own.
    """

    value: float
    stderr: float
    change: float
    smallest: float
    residual: float
    decrement: float
    method: str
    num_matvecs: int
    converged: bool
    self_check: Mapping[str, Any]
    hvp: Mapping[str, Any]
    num_classes: int | None


def log_determinant(objective: Objective, *, seed: int = 0, progress: Progress | None = None) -> LogDeterminant:
    """ln det (H / l2) of an objective whose l2 penalty, l2 > 0, is part of H: exact up to 2,000 params.

    Exact: all eigenvalues, in float64 whatever the objective's type, by n products. Else stochastic Lanczos quadrature
    (Ubaru, Chen & Saad 2017) by 1,800, after a search for the smallest eigenvalue. Raises NotPositive where an
    eigenvalue is not above zero, or cannot be told from it.
    """
    if objective.layout.size > EXACT:
        return by_quadrature(Hessian(objective), objective.l2, seed=seed, progress=progress)
    # Rounding of the largest eigenvalues in float32 would be as large as the smallest.
    exact = objective.subset(objective.num_samples, dtype=torch.float64, chunk=objective.chunk)
    return by_eigenvalues(Hessian(exact), objective.l2, seed=seed, progress=progress)


def by_eigenvalues(
    operator: AbstractOperator, ridge: float, *, seed: int = 0, progress: Progress | None = None
) -> LogDeterminant:
    """ln det (A / ridge) from all eigenvalues of A: n products, O(n^2) memory. Raises NotPositive.

    Rounding is taken to move each eigenvalue by up to n units in the last place of the largest: the error of the sum
    follows, and a smallest one below that is not told from zero.
    """
    check = operator.self_check(seed)
    columns = []
    for piece in torch.eye(operator.size, dtype=operator.dtype, device=operator.device).split(BLOCK, dim=1):
        columns.append(operator.matmat(piece).double().cpu())
        if progress:
            progress(sum(part.shape[1] for part in columns))
    matrix = torch.cat(columns, dim=1)
    if not bool(torch.isfinite(matrix).all()):
        raise NumericalError("a matrix-vector product is not finite; are the params and the loss?")
    found, vectors = torch.linalg.eigh((matrix + matrix.T) / 2)
    values, vectors = found.numpy(), vectors.numpy()
    rounding = len(values) * torch.finfo(operator.dtype).eps * float(np.abs(values).max())
    if values[0] < -rounding:
        raise _negative(float(values[0]), ridge)
    if values[0] <= rounding:
        raise _as_zero(float(values[0]), "above rounding", rounding, ridge)
    value, error = float(np.log(values / ridge).sum()), float((rounding / values).sum())
    gradient = operator.gradient()
    along = None if gradient is None else vectors.T @ gradient.double().cpu().numpy()
    return LogDeterminant(
        value=value,
        stderr=error,
        change=0.0,
        smallest=float(values[0]),
        residual=rounding,
        decrement=math.nan if along is None else float((along**2 / values).sum()),
        method="exact",
        num_matvecs=operator.size,
        converged=error <= max(TOL * abs(value), NAT),
        self_check=operator.described(check)["self_check"],
        hvp=operator.report(),
        num_classes=operator.num_classes,
    )


def by_quadrature(
    operator: AbstractOperator, ridge: float, *, seed: int = 0, progress: Progress | None = None
) -> LogDeterminant:
    """ln det (A / ridge) = tr ln (A / ridge), by Lanczos from 30 probes of random signs, 60 steps each.

    ln is steep near zero, so that few steps may not do: what half of them would have given follows from the same nodes
    and weights, and the difference is added to the standard error. Costs 1,800 products, those of the smallest
    eigenvalue, and at most 300 of the decrement. Raises NotPositive.
    """
    smallest, residual, spent = _smallest(operator, ridge, seed, progress)
    density = spectral_density(operator, probes=PROBES, steps=STEPS, seed=seed, progress=_after(spent, progress))
    nodes, weights = density.nodes, density.weights
    if not nodes[weights > 0].min() > 0:
        raise _negative(float(nodes[weights > 0].min()), ridge)
    rules = [(row[part > 0], part[part > 0]) for row, part in zip(nodes, weights, strict=True)]
    values = np.array([operator.size * _integral(*rule, ridge) for rule in rules])
    fewer = np.array([operator.size * _integral(*halved(*rule), ridge) for rule in rules])
    value, change = float(values.mean()), float(abs(values.mean() - fewer.mean()))
    spent += density.num_matvecs
    decrement, more = _decrement(operator, ridge, max(smallest - residual, 0.5 * smallest))
    spent += more
    if progress:
        progress(spent)
    spread = float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else 0.0
    return LogDeterminant(
        value=value,
        stderr=spread + change,
        change=change,
        smallest=smallest,
        residual=residual,
        decrement=decrement,
        method="lanczos",
        num_matvecs=spent,
        converged=spread + change <= max(TOL * abs(value), NAT),
        self_check=density.self_check,
        hvp=density.hvp,
        num_classes=operator.num_classes,
    )


def halved(nodes: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The Gauss rule that half the Lanczos steps would have given, from the nodes and weights of all of them.

    Lanczos on diag(nodes), started at the weights' roots, makes the same tridiagonal matrix again (Gragg & Harwood
    1984): its leading half is that of half the steps.
    """
    count = (len(nodes) + 1) // 2
    basis, diagonal, beside = [np.sqrt(weights / weights.sum())], [], []
    for step in range(count):
        left = nodes * basis[step]
        diagonal.append(float(left @ basis[step]))
        for _ in range(2):  # the second pass takes off what rounding left of the first
            left = left - np.array(basis).T @ (np.array(basis) @ left)
        beside.append(float(np.linalg.norm(left)))
        basis.append(left / (beside[step] or 1.0))
    matrix = np.diag(diagonal) + np.diag(beside[: count - 1], 1) + np.diag(beside[: count - 1], -1)
    values, vectors = np.linalg.eigh(matrix)
    return values, vectors[0] ** 2


def _integral(nodes: np.ndarray, weights: np.ndarray, ridge: float) -> float:
    return float(weights @ np.log(nodes / ridge))


def _smallest(
    operator: AbstractOperator, ridge: float, seed: int, progress: Progress | None
) -> tuple[float, float, int]:
    """The smallest eigenvalue, its residual, and the products spent. Raises NotPositive.

    A Ritz value below zero is a proof; one above is not, so the residual must be a tenth of the value, or at least
    below it where the products end.
    """
    spent, tol = 0, FIRST_TOL
    while True:
        pairs = top_eigenpairs(
            operator,
            1,
            which="smallest",
            tol=tol,
            max_matvecs=MOST_PRODUCTS - spent,
            seed=seed,
            progress=_after(spent, progress),
        )
        assert pairs.low is not None
        value, low, residual = float(pairs.eigenvalues[0]), float(pairs.low[0]), float(pairs.residuals[0])
        spent += pairs.num_matvecs
        if not value > 0:
            raise _negative(value, ridge)
        if low >= (1 - SURE) * value or spent > MOST_PRODUCTS - LEAST_PRODUCTS:
            break
        # Half of what would do now, since the value falls as the search goes on.
        tol = min(tol, residual * SURE * value / (value - low)) / 2
    if low > 0:
        return value, value - low, spent
    raise _as_zero(value, f"after {spent} products", value - low, ridge, ", or --dtype float64")


def _decrement(operator: AbstractOperator, ridge: float, smallest: float) -> tuple[float, int]:
    """g'A^-1 g, and the products spent, by conjugate gradients (Hestenes & Stiefel 1952); nan without a gradient.

    What is left of it is at most |r|^2 over the smallest eigenvalue, r the residual: it ends where that is .01 of what
    is known, or of a nat, else that is added after 300 products. Raises NotPositive where a curvature is not positive.
    """
    gradient = operator.gradient()
    if gradient is None:
        return math.nan, 0
    residual = gradient.double()
    direction, known, square = residual, 0.0, float(residual @ residual)
    nat = 2 * NAT / (operator.num_samples or 1)
    for spent in range(DECREMENT_PRODUCTS):
        if square / smallest <= DECREMENT_TOL * max(known, nat):
            return known + square / smallest, spent
        image = operator.matvec(direction.to(operator.dtype)).double()
        curvature = float(direction @ image)
        if not curvature > 0:
            raise _negative(curvature / float(direction @ direction), ridge)
        step = square / curvature
        known += step * square
        residual = residual - step * image
        before, square = square, float(residual @ residual)
        direction = residual + square / before * direction
    return known + square / smallest, DECREMENT_PRODUCTS


def _after(spent: int, progress: Progress | None) -> Callable[[int, float], None] | None:
    return (lambda products, _: progress(spent + products)) if progress else None


def _as_zero(value: float, when: str, error: float, ridge: float, also: str = "") -> NotPositive:
    return NotPositive(
        f"the smallest eigenvalue of the regularised Hessian, {value:.2g}, cannot be told from zero {when}: it is "
        f"known to {error:.1g}; use a larger --l2 than {ridge:g}{also}",
        value,
    )


def _negative(value: float, ridge: float) -> NotPositive:
    return NotPositive(
        f"the evidence needs a positive definite regularised Hessian, and it has the eigenvalue {value:.3g}; "
        f"use a larger --l2 than {ridge:g}, or train longer",
        value,
    )
