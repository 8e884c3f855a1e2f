"""Spectral density of an operator by stochastic Lanczos quadrature."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from .errors import UsageError
from .krylov import Basis
from .operators import AbstractOperator
from .results import Density, Status
from .spectrum import Progress

VERSION = 1
EDGE = 6.0  # standard deviations of the bulk from its mean to its edge


def settings(operator: AbstractOperator, *, probes: int, steps: int, seed: int) -> dict[str, Any]:
    """What identifies the result of `spectral_density` with these arguments."""
    return operator.settings(Density.kind, VERSION, probes=probes, steps=steps, seed=seed)


def spectral_density(
    operator: AbstractOperator,
    *,
    probes: int = 5,
    steps: int = 80,
    seed: int = 0,
    progress: Progress | None = None,
) -> Density:
    """The distribution of the eigenvalues as nodes and weights, by stochastic Lanczos quadrature.

    For each probe v of random signs, `steps` Lanczos steps with full reorthogonalisation give T = U diag(l) U'; then
    sum_i U[0, i]^2 f(l_i) estimates tr f(A) / n (Golub & Meurant 1994; Ghorbani, Krishnan & Xiao 2019, section 2).
    Nodes and weights are stored as they are; smoothing is the reader's choice. Where probes * steps >= n, the dense
    matrix gives all eigenvalues, each of weight 1/n, in one row.

    Returns nodes and weights (probes, steps); a row that ends early, since the operator maps its Krylov space into
    itself, is filled with nodes of weight 0. Cost: probes * steps products, memory `steps` vectors. Raises
    UsageError for arguments out of range, NumericalError for non-finite products or a contradicted self-check.
    """
    if probes < 1 or steps < 2:
        raise UsageError(f"probes must be at least 1 and steps at least 2, got {probes} and {steps}")
    check = operator.self_check(seed)
    if probes * steps >= operator.size:
        nodes, weights, spent = _all(operator)
    else:
        nodes, weights, spent = _quadrature(operator, probes, steps, seed, progress)
    exact = spent == operator.size
    trace, trace_error = _mean_and_error(operator.size * (weights * nodes).sum(1), exact)
    edge = bulk_edge(nodes, weights)
    outliers, outliers_error = _mean_and_error(operator.size * (weights * (nodes > edge)).sum(1), exact)
    above = float((weights * nodes * (nodes > edge)).sum(1).mean() * operator.size)
    return Density(
        status=Status.COMPLETE,
        settings=settings(operator, probes=probes, steps=steps, seed=seed),
        nodes=nodes,
        weights=weights,
        trace=trace,
        trace_stderr=trace_error,
        bulk_edge=edge,
        num_outliers=outliers,
        num_outliers_stderr=outliers_error,
        outlier_share=above / trace if trace else math.nan,
        num_matvecs=spent,
        num_classes=operator.num_classes,
        **operator.described(check),
    )


def bulk_edge(nodes: np.ndarray, weights: np.ndarray) -> float:
    """The upper edge of the bulk: mean + 6 standard deviations of the density below it, iterated to a fixed point.

    A convention (clipping at 6 sigma), for which a Gaussian or semicircular bulk has no outliers. Where the spectrum
    falls off evenly, as it mostly does, there is no edge to see, and the number above it depends on the convention.
    """
    values, shares = nodes.ravel(), weights.ravel()
    edge = math.inf
    for _ in range(len(values)):
        below = values <= edge
        mean = float(np.average(values[below], weights=shares[below]))
        deviation = math.sqrt(float(np.average((values[below] - mean) ** 2, weights=shares[below])))
        following = mean + EDGE * deviation
        if following >= edge or not (values[values <= following].size and shares[values <= following].sum() > 0):
            break
        edge = following
    return min(edge, float(values.max()))


def _mean_and_error(values: np.ndarray, exact: bool) -> tuple[float, float | None]:
    """Mean over probes and its standard error: 0 where all eigenvalues are known, None for a single probe."""
    if exact:
        return float(values.mean()), 0.0
    return float(values.mean()), float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else None


def _all(operator: AbstractOperator) -> tuple[np.ndarray, np.ndarray, int]:
    values = torch.linalg.eigvalsh(operator.dense().double().cpu()).flip(0).numpy()
    return values[None], np.full((1, len(values)), 1.0 / len(values)), operator.size


def _quadrature(
    operator: AbstractOperator, probes: int, steps: int, seed: int, progress: Progress | None
) -> tuple[np.ndarray, np.ndarray, int]:
    generator = torch.Generator().manual_seed(seed)
    nodes, weights = np.zeros((probes, steps)), np.zeros((probes, steps))
    spent = 0
    for probe in range(probes):
        signs = 2 * torch.randint(0, 2, (operator.size,), generator=generator, dtype=torch.int8) - 1
        basis = Basis(operator, steps)
        basis.begin(signs.to(operator.device, operator.dtype) / math.sqrt(operator.size))
        while not basis.full and not basis.invariant:
            basis.expand()
            spent += 1
            if progress:
                progress(spent, math.nan)
        values, coefficients = basis.ritz()
        nodes[probe], weights[probe, : len(values)] = values[-1], coefficients[0].square()
        nodes[probe, : len(values)] = values
    return nodes, weights / weights.sum(1, keepdims=True), spent
