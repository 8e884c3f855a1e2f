"""Gradients and eigenvectors: how much of one lies in the span of the others (Gur-Ari, Roberts & Dyer 2018)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .errors import InputError
from .operators import AbstractOperator
from .results import Eigenpairs


@dataclass(frozen=True)
class GradientInSubspace:
    """Where the gradient g lies among eigenvectors.

    `fraction` is |P g|^2 / |g|^2, P the projection on them (k/n for a random g), `overlap` g'Ag / (|g| |Ag|), 1 where
    g is an eigenvector, `norm` |g|, in loss / param.
    """

    fraction: float
    overlap: float
    norm: float


def gradient_in_subspace(operator: AbstractOperator, vectors: Tensor) -> GradientInSubspace | None:
    """The gradient at an operator's point against orthonormal rows (k, n), as Gur-Ari et al. (2018, section 2).

    None where the operator has no gradient, or it is zero. One gradient pass and one product.
    """
    gradient = operator.gradient()
    norm = 0.0 if gradient is None else float(gradient.norm())
    if gradient is None or not 0 < norm < float("inf"):
        return None
    inside = vectors.double() @ gradient
    image = operator.matvec(gradient.to(operator.dtype)).double()
    overlap = float(gradient @ image) / (norm * float(image.norm()) or 1.0)
    return GradientInSubspace(float(inside.square().sum()) / norm**2, overlap, norm)


def subspace_overlap(first: Eigenpairs, second: Eigenpairs) -> float:
    """tr(P1 P2) / k of the spans of two sets of eigenvectors, k the smaller dimension: 0 orthogonal, 1 the same.

    Gur-Ari et al. (2018), section 2: how alike the top eigenspaces of two minima are. Random spans of dimension k have
    k/n. Raises InputError where there are no vectors, or vectors of other sizes.
    """
    one, other = _vectors(first), _vectors(second)
    if len(one) != len(other):
        raise InputError(f"eigenvectors of {len(one)} and {len(other)} params share no space")
    return float(np.square(one.T @ other).sum() / min(one.shape[1], other.shape[1]))


def _vectors(pairs: Eigenpairs) -> np.ndarray:
    if pairs.vectors is None:
        raise InputError("these eigenpairs carry no vectors; those read from a store lie in FILE.vectors.h5")
    return torch.as_tensor(pairs.vectors).double().numpy()
