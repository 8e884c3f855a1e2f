"""The curvature that the noise of the gradient meets: tr(H Sigma), G'HG, and the noise scale of their ratio."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import NumericalError
from ..objective import Objective
from ..operators import Hessian
from .intervals import fieller
from .moments import Moments, Progress, combination
from .routes import HELD, Route

TOGETHER = 10  # probes multiplied at once, at most
EXACT = 256  # params at most of the exact trace, whose products with each of them every chunk holds


@dataclass(frozen=True)
class Curvature:
    """tr(H Sigma) with its standard error over probes, G'HG with that over samples, and their ratio's interval."""

    trace: float
    trace_stderr: float
    along_gradient: float
    along_gradient_stderr: float
    low: float
    high: float
    probes: int
    self_check: Mapping[str, Any]

    @property
    def b_noise(self) -> float | None:
        """tr(H Sigma) / G'HG; None where one of them is not positive."""
        return self.trace / self.along_gradient if min(self.trace, self.along_gradient) > 0 else None


def curvature(
    objective: Objective,
    route: Route,
    found: Moments,
    *,
    probes: int,
    level: float,
    seed: int,
    hvp: str = "auto",
    memory: int | None = None,
    progress: Progress | None = None,
) -> Curvature:
    """tr(H Sigma) and G'HG = g'Hg - tr(H Sigma)/N at this point (McCandlish et al. 2018, section 2.2).

    tr(H Sigma) is the mean of v'Hv over `probes` combinations v of the deviations r_k with random signs,
    whose mean vv' is the estimate of Sigma; where there are no more params than probes, 256 at most, the exact one.
    Each costs a gradient pass and a product. The error of G'HG is that of g, H taken as known. NumericalError where the
    self-check contradicts the product.
    """
    hessian = Hessian(objective, hvp=hvp, memory=memory)
    check = hessian.self_check(seed)
    gradient = found.gradient.to(objective.device)
    image = hessian.matvec(gradient.to(objective.dtype)).double()
    if objective.layout.size <= min(probes, EXACT):
        values, used = _exact(objective, route, hessian, found), 0
    else:
        values, used = _signed(objective, route, hessian, found, probes, seed, progress), probes
    trace = float(values.mean())
    stderr = float(values.std()) / math.sqrt(used) if used > 1 else 0.0
    influence = _along(objective, route, found, image)
    along = float(gradient @ image) - trace / found.num_samples
    count = found.units
    variance = float((influence - influence.mean()).square().sum()) / (count * (count - 1))
    variance += (stderr / found.num_samples) ** 2
    # The error of tr(H Sigma) over samples is taken to be, relative to it, that of tr(Sigma).
    own = stderr**2 + (trace / found.trace) ** 2 * found.covariance()[0] if found.trace > 0 else stderr**2
    freedom = min(count, used or count) - 1
    low, high = 0.0, math.inf
    if trace > 0 and not found.few:
        low, high = fieller(trace, along, (own, variance), 0.0, level, freedom)
    if not math.isfinite(trace + along):
        raise NumericalError("products with the Hessian are not finite at this point")
    return Curvature(trace, stderr, along, math.sqrt(variance), low, high, used, check)


def _signed(
    objective: Objective,
    route: Route,
    hessian: Hessian,
    found: Moments,
    probes: int,
    seed: int,
    progress: Progress | None,
) -> Tensor:
    """v'Hv of each probe (m,)."""
    generator = torch.Generator().manual_seed(seed)
    of_loss = found.own.to(objective.device)
    block = min(TOGETHER, max(1, HELD // (8 * objective.layout.size)))
    values: list[Tensor] = []
    while len(values) < probes:
        vectors = []
        for _ in range(min(block, probes - len(values))):
            signs = torch.randint(0, 2, (found.units,), generator=generator, dtype=torch.float64) * 2 - 1
            total = combination(objective, route, signs / found.mean_weight) - float(signs @ found.weights) * of_loss
            vectors.append(total * math.sqrt(found.num_samples / (found.units * (found.units - 1))))
        matrix = torch.stack(vectors, 1)
        images = hessian.matmat(matrix.to(objective.dtype)).double()
        values += (matrix * images).sum(0).cpu().unbind()
        if progress is not None:
            progress(len(values) / probes)
    return torch.stack(values)


def _exact(objective: Objective, route: Route, hessian: Hessian, found: Moments) -> Tensor:
    """tr(H Sigma) (1,) by the deviations themselves, whose products with unit vectors are their entries."""
    identity = torch.eye(objective.layout.size, dtype=torch.float64, device=objective.device)
    covariance = torch.zeros_like(identity, device="cpu")
    for deviations in _deviations(objective, route, found, identity):
        covariance += deviations.T @ deviations * (found.num_samples / (found.units * (found.units - 1)))
    dense = hessian.matmat(identity.to(objective.dtype)).double().cpu()
    return (dense * covariance).sum()[None]


def _along(objective: Objective, route: Route, found: Moments, image: Tensor) -> Tensor:
    """Each unit's influence on g'Hg, 2 r_k . Hg (K,)."""
    return 2 * torch.cat(list(_deviations(objective, route, found, image[None])))[:, 0]


def _deviations(objective: Objective, route: Route, found: Moments, directions: Tensor) -> Iterator[Tensor]:
    """Products (B, s) of the deviations r_k with directions (s, n), chunk by chunk. One pass of the route."""
    of_mean = (directions @ found.own.to(objective.device)).cpu()
    start = 0
    with objective.running():
        for terms in route.terms(directions):
            weights = found.weights[start : start + len(terms.weights)]
            yield terms.products.sum(2).cpu() / found.mean_weight - torch.outer(weights, of_mean)
            start += len(weights)
