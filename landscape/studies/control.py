"""The control of a measure: the same function at other params (Dinh et al. 2017)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from ..rescaling import rescale
from ..results import Sharpness, Status
from .measured import Minimum

# Powers of two: in binary arithmetic the copies' outputs are the same to the last bit, but for underflow.
ALPHAS = (0.25, 4.0)
# What shared samples, draws and products leave to rounding lies far below, what rescaling does to a raw measure above.
LEAST_MOVE = 1e-3
ERRORS = 3  # standard errors that a difference must exceed where not all draws are shared


def copies(minimum: Minimum) -> list[tuple[float, Minimum]]:
    """The minimum with the outputs of each ReLU layer multiplied by a factor and divided out after, by the factor.

    Raises InputError where the network has no layer that can be rescaled.
    """
    return [
        (alpha, replace(minimum, label=f"{minimum.label}-x{alpha:g}", test=None, objective=moved.objective))
        for alpha in ALPHAS
        for moved in [rescale(minimum.objective, alpha)]
    ]


def moved(one: Sharpness, other: Sharpness) -> bool | None:
    """Whether a measure differs between a minimum and its copy by more than .1 %; None where one does not hold.

    Copies share samples, draws and probes, so that their errors are the same and cancel; where they
    took different numbers of products or draws, three standard errors count too.
    """
    whole = (Status.COMPLETE, Status.CONVERGED)
    if one.status not in whole or other.status not in whole:
        return None
    if not (math.isfinite(one.value) and math.isfinite(other.value)):
        return None
    least = LEAST_MOVE * max(abs(one.value), abs(other.value))
    if (one.num_matvecs, one.repeats) != (other.num_matvecs, other.repeats):
        least = max(least, ERRORS * math.hypot(one.stderr or 0.0, other.stderr or 0.0))
    return abs(other.value - one.value) > least


def as_expected(stays: bool, moves: Sequence[bool | None]) -> bool | None:
    """Whether the copies moved as they should; None where those that are not known might say otherwise.

    One copy that moves shows that a measure is not invariant. A raw measure need not move at every one: as a function
    of the factor it goes through a minimum, so that it may have one value at two factors.
    """
    if any(moves):
        return not stays
    return None if None in moves else stays
