"""Eigenvalues of the covariance of the samples' gradients (Chaudhari & Soatto 2018, section 4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ..errors import InputError
from ..objective import Objective
from ..operators import GradientCovariance
from ..spectrum import top_eigenpairs
from .moments import Moments
from .routes import HELD, Route, single

MOST_GRAM = 1024  # samples whose gradients are taken one by one
MATVECS = 1000


@dataclass(frozen=True)
class CovarianceSpectrum:
    """Eigenvalues, descending; the numerical rank where all are known; gram or lanczos; whether they converged."""

    eigenvalues: np.ndarray
    rank: int | None
    method: str
    converged: bool


def covariance_spectrum(
    objective: Objective,
    route: Route,
    found: Moments,
    count: int,
    *,
    seed: int,
    hvp: str = "auto",
    memory: int | None = None,
) -> CovarianceSpectrum:
    """The `count` largest eigenvalues of Sigma, with 1/(N-1).

    Of few samples by the singular values of their deviations, all of them, and the rank: those above N times the
    rounding of the largest. Else by Lanczos on products with Sigma. InputError for more eigenvalues than params.
    """
    size = objective.layout.size
    if not 1 <= count <= size:
        raise InputError(f"--spectrum must lie in 1 ... {size}, the number of params, got {count}")
    samples = found.num_samples
    if route.unit_size == 1 and samples <= MOST_GRAM and 8 * samples * size <= HELD:
        of_loss = found.own.to(objective.device)
        with objective.running():
            rows = [(gradient - weight * of_loss) for gradient, weight in (single(objective, b) for b in route.units())]
        singular = torch.linalg.svdvals(torch.stack(rows) / found.mean_weight) / (samples - 1) ** 0.5
        rounding = torch.finfo(objective.dtype).eps * samples * float(singular[0])
        rank = int((singular > rounding).sum())
        return CovarianceSpectrum(singular[:count].square().cpu().numpy(), rank, "gram", True)
    operator = GradientCovariance(objective, ddof=1, hvp=hvp, memory=memory)
    pairs = top_eigenpairs(operator, count, seed=seed, max_matvecs=MATVECS)
    return CovarianceSpectrum(pairs.eigenvalues, None, "lanczos", str(pairs.status) == "converged")
