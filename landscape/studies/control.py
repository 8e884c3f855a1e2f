"""The control of a measure: the same function at other params (Dinh et al. 2017)."""

from __future__ import annotations

import math
from dataclasses import replace

from ..rescaling import rescale
from .measured import Minimum

# Powers of two: in binary arithmetic the copies' outputs are the same to the last bit, but for underflow.
ALPHAS = (0.25, 4.0)
# What shared samples, draws and products leave to rounding lies far below, what rescaling does to a raw measure above.
LEAST_MOVE = 1e-3


def copies(minimum: Minimum) -> list[tuple[float, Minimum]]:
    """The minimum with the outputs of each ReLU layer multiplied by a factor and divided out after, by the factor.

    Raises InputError where the network has no layer that can be rescaled.
    """
    return [
        (alpha, replace(minimum, label=f"{minimum.label}-x{alpha:g}", test=None, objective=moved.objective))
        for alpha in ALPHAS
        for moved in [rescale(minimum.objective, alpha)]
    ]


def moved(value: float, other: float) -> bool | None:
    """Whether two values of a measure differ by more than .1 %; None where one is not finite."""
    if not (math.isfinite(value) and math.isfinite(other)):
        return None
    return abs(other - value) > LEAST_MOVE * max(abs(value), abs(other))
