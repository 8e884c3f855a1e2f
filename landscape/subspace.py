"""Gradients and eigenvectors: how much of one lies in the span of the others (Gur-Ari, Roberts & Dyer 2018)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from .errors import InputError, NumericalError
from .objective import Objective
from .operators import AbstractOperator
from .results import Eigenpairs


@dataclass(frozen=True)
class GradientInSubspace:
    """Where the gradient g lies: `fraction` |P g|^2 / |g|^2, P the projection on the eigenvectors; `overlap`
    g'Hg / (|g| |Hg|), 1 where g is an eigenvector; `norm` |g|."""

    fraction: float
    overlap: float
    norm: float


def gradient_in_subspace(objective: Objective, operator: AbstractOperator, pairs: Eigenpairs) -> GradientInSubspace:
    """The gradient of the objective against eigenpairs of an operator at the same point (Gur-Ari et al. 2018, s. 2).

    A random gradient has a fraction of k/n. One gradient pass and one product. Raises InputError where the pairs
    carry no vectors of that size, NumericalError where the gradient is zero or not finite.
    """
    gradient = objective.value_and_gradient()[1]
    norm = float(gradient.norm())
    if not 0 < norm < float("inf"):
        raise NumericalError(f"the gradient's norm is {norm:g}: it has no direction to speak of")
    inside = torch.as_tensor(_vectors(pairs, objective.layout.size).T @ gradient.cpu().numpy())
    image = operator.matvec(gradient.to(operator.dtype)).double()
    overlap = float(gradient @ image) / (norm * float(image.norm()) or 1.0)
    return GradientInSubspace(float(inside.square().sum()) / norm**2, overlap, norm)


def subspace_overlap(first: Eigenpairs, second: Eigenpairs) -> float:
    """tr(P1 P2) / k of the spans of two sets of eigenvectors, k the smaller dimension: 0 orthogonal, 1 the same.

    Gur-Ari et al. (2018), section 2. Random spans of dimension k have k/n. InputError where there are no vectors, or
    vectors of other sizes.
    """
    one, other = _vectors(first, None), _vectors(second, None)
    if len(one) != len(other):
        raise InputError(f"eigenvectors of {len(one)} and {len(other)} params share no space")
    return float(np.square(one.T @ other).sum() / min(one.shape[1], other.shape[1]))


def _vectors(pairs: Eigenpairs, size: int | None) -> np.ndarray:
    if pairs.vectors is None:
        raise InputError("these eigenpairs carry no vectors; those read from a store lie in FILE.vectors.h5")
    vectors = np.asarray(pairs.vectors, dtype=np.float64)
    if size not in (None, len(vectors)):
        raise InputError(f"eigenvectors of {len(vectors)} params do not fit an objective of {size}")
    return vectors
