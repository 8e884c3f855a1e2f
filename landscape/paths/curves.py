"""Curves through parameter space: their points as weighted sums of a few params."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

CURVES = ("bezier", "polychain")
SEGMENTS = 1000  # chords that each stretch of a curve is measured by: a smooth curve's length to about 1e-6
COLUMNS_AT_ONCE = 2**18  # of the points in float64 at a time


def coefficients(curve: str, t: Sequence[float] | Tensor, bends: int) -> Tensor:
    """The weights c_k(t) of the K+1 = bends+2 points theta_k, (T, K+1) in float64; each row sums to one.

    `bezier`: C(K,k) (1-t)^(K-k) t^k, Bernstein's polynomials; `polychain`: max(0, 1 - |K t - k|), straight segments
    that meet at t = k/K (Garipov et al. 2018, section 3.2). Exactly (1, 0 ...) at t = 0 and (0 ... 1) at t = 1.
    """
    at = torch.as_tensor(t, dtype=torch.float64)[:, None]
    last = bends + 1
    k = torch.arange(last + 1, dtype=torch.float64)
    if curve == "polychain":
        return (1 - (last * at - k).abs()).clamp(min=0)
    binomials = torch.tensor([math.comb(last, i) for i in range(last + 1)], dtype=torch.float64)
    return binomials * (1 - at) ** (last - k) * at**k


def point(points: Tensor, weights: Tensor) -> Tensor:
    """phi = sum_k c_k theta_k (n,) in float64, of points (K+1, n) and weights (K+1,); an end is that end itself."""
    found = torch.zeros(points.shape[1], dtype=torch.float64, device=points.device)
    for weight, theta in zip(weights.tolist(), points, strict=True):
        if weight:
            found += weight * theta.double()
    return found


def straight(first: Tensor, last: Tensor, bends: int) -> Tensor:
    """The points (bends+2, n) in the params' type, evenly spaced on the segment between two of them."""
    ends, t = torch.stack([first, last]), torch.linspace(0, 1, bends + 2, dtype=torch.float64)
    return torch.stack([point(ends, row).to(first.dtype) for row in coefficients("polychain", t, 0)])


def arc_length(curve: str, points: Tensor) -> float:
    """The Euclidean length of the curve of points (K+1, n): the sum of 1000 K chords |phi(t_i+1) - phi(t_i)|.

    Exact for a polychain, whose corners are among the t_i. The weights of a chord sum to zero, so that its length
    follows from the Gram matrix (K, K) of the theta_k - theta_0: one pass over the points for all chords.
    """
    last = len(points) - 1
    gram = torch.zeros(last, last, dtype=torch.float64)
    for block in points.split(COLUMNS_AT_ONCE, dim=1):
        away = block[1:].double() - block[0].double()
        gram += (away @ away.T).cpu()
    t = torch.linspace(0, 1, SEGMENTS * last + 1, dtype=torch.float64)
    steps = coefficients(curve, t, last - 1).diff(dim=0)[:, 1:]
    return float(((steps @ gram) * steps).sum(1).clamp(min=0).sqrt().sum())
