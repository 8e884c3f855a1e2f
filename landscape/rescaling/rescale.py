"""A ReLU network at other params that make the same function: one factor for each layer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import InputError, NumericalError, UsageError
from ..objective import Objective
from ..tracing import CHECKED_SAMPLES, difference, outputs
from .structure import Structure, structure_of

# In float64 the products of a rescaled network round by some 1e-14 of the largest output. The slightest wrong structure
# that is likely scales what a norm layer divides by its deviation: the constant in that, 1e-5, then shows by some
# 1e-5 (1 - 1/alpha^2) / variance, well above this.
STRUCTURE_TOLERANCE = 1e-10
# Params rounded to float32 change the outputs by 1e-7 to 1e-6; by more where factors leave the range of the type.
ROUNDING_TOLERANCE = 1e-4

NOTHING = (
    "no layer of this network can be rescaled: it has no ReLU layer whose scale is free (tanh, GELU, softmax, added "
    "constants and norms without weights fix it)"
)


@dataclass(frozen=True)
class Rescaling:
    """The same function at other params.

    Attributes:
        objective: the objective at the rescaled params, frozen ones among them; buffers as they were.
        alphas: the factor of each layer, by the first layer that it multiplies, in the order of their ReLU.
        largest_change: the largest change of an output over the largest output, on at most 64 samples, computed in
            float64: what rounding to the objective's type leaves.
    """

    objective: Objective
    alphas: Mapping[str, float]
    largest_change: float


def rescalable_layers(objective: Objective) -> tuple[str, ...]:
    """The layers that have a factor of their own, by the first that it multiplies, in the order of their ReLU.

    Layers whose outputs are added to each other share a factor. Empty where there are none. Costs a pass over two
    samples. Raises InputError for a block of the params, batches that are dicts, or a network that cannot be traced.
    """
    return _structure(objective).layers


def rescale(objective: Objective, alphas: float | Sequence[float] = 5.0) -> Rescaling:
    """T_alpha of a ReLU network: the same function, and where alpha is large another curvature.

    W_l -> alpha_l W_l / alpha_(l-1), b_l -> alpha_l b_l (Dinh, Pascanu, Bengio & Bengio 2017, section 4), for any graph
    of operations: a norm layer's weight and bias are multiplied in place of the layer before it, the next linear layer
    is divided, statistics stay. `alphas` is one factor for all of `rescalable_layers`, or one for each. Powers of two
    round nothing. Costs three passes over 64 samples in float64.

    Raises UsageError for factors that are not finite and positive; InputError as `rescalable_layers` does, where there
    are no such layers or not as many as factors, or where outputs changed in a check in float64 on 64 samples;
    NumericalError for outputs that are not finite.
    """
    given = tuple(map(float, alphas)) if isinstance(alphas, Sequence) else (float(alphas),)
    if not given or not all(0 < alpha < math.inf for alpha in given):
        raise UsageError(f"alphas must be finite and above 0, got {', '.join(f'{a:g}' for a in given) or 'none'}")
    structure = _structure(objective)
    names = structure.layers
    if not names:
        raise InputError(NOTHING)
    if not isinstance(alphas, Sequence):
        given *= len(names)
    if len(given) != len(names):
        raise InputError(
            f"{len(names)} layers can be rescaled ({', '.join(names)}), got {len(given)} alphas; give one, or as many"
        )
    moved = objective.at(structure.scaled(_tensors(objective), given))
    return Rescaling(moved, dict(zip(names, given, strict=True)), _checked(objective, moved, structure, given))


def _structure(objective: Objective) -> Structure:
    if objective.penalised:
        raise InputError("rescaling takes all params, got a block of them; leave --params out")
    if isinstance(objective.samples.blocks[0], dict):
        raise InputError("rescaling needs (inputs, targets) samples to follow the layers, got dict batches")
    return structure_of(objective)


def _tensors(objective: Objective) -> dict[str, Tensor]:
    return {**objective.layout.named(objective.params), **objective.constants}


def _checked(before: Objective, after: Objective, structure: Structure, alphas: Sequence[float]) -> float:
    """The relative change of the outputs; InputError where structure or rounding changed the function.

    The structure is held against the outputs without the rounding to the objective's type, which would hide it.
    """
    exact = before.subset(CHECKED_SAMPLES, dtype=torch.float64)
    expected = outputs(exact)
    change, largest = difference(expected, outputs(exact.at(structure.scaled(_tensors(exact), alphas))))
    if not math.isfinite(largest):
        raise NumericalError("the outputs are not finite, so they cannot be compared; rescale a network that converged")
    if not change <= STRUCTURE_TOLERANCE * largest:
        raise InputError(
            f"rescaling changed the outputs by {change:.1e} (the largest is {largest:.1e}): the network has a "
            f"structure that rescaling does not understand, or the alphas leave the range of float64"
        )
    change, largest = difference(expected, outputs(after))
    if not change <= ROUNDING_TOLERANCE * largest:
        raise InputError(
            f"rescaling changed the outputs by {change:.1e} (the largest is {largest:.1e}): the alphas leave the range "
            f"of {str(before.dtype).removeprefix('torch.')}; take alphas nearer to 1"
        )
    return change / largest if largest else 0.0
