"""Two networks of one architecture, brought together by the order of their hidden units."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ..errors import InputError, NumericalError, UsageError
from ..objective import Objective
from ..tracing import difference, outputs
from .groups import groups_of, in_order
from .matching import best_match, distance
from .structure import classes_of

# Orders of float64 sums differ by 1e-13 of the largest output or so; a wrong order of units by far more than this.
CHECK_TOLERANCE = 1e-5


@dataclass(frozen=True)
class Alignment:
    """A network with its hidden units in the order that brings it closest to another one found.

    Attributes:
        objective: the second objective, its hidden units in their new order: the same function.
        distance_before: |w_other - w_reference|, over the trainable params.
        distance: the same with `other` in the new order; never above `distance_before`.
        moved: share of the units that may change their place which did.
        restarts: random starts made beside the one from the order as it is.
        permutations: for each group of units, by the first layer whose outputs they are, (units,): the unit of `other`
            that now stands at place i. `name[16:32]` is a group that is a part of the layer's units.
    """

    objective: Objective
    distance_before: float
    distance: float
    moved: float
    restarts: int
    permutations: Mapping[str, np.ndarray]


def align(reference: Objective, other: Objective, *, restarts: int = 3, seed: int = 0) -> Alignment:
    """The hidden units of `other` in an order in which its params are close to those of `reference`.

    min_P |P w_other - w_reference| over the orders P of hidden units, which leave the function as it is, by weight
    matching (Ainsworth, Hayase & Srinivasa 2023, section 3.2): from the order as it is and from `restarts` random ones
    drawn from `seed`, the closest kept. A local minimum. Batch-norm statistics move along and do not count. Which units
    may change places is read off the network itself (`classes_of`); what is not understood, a group norm among that,
    stays as it is. For ResNet-20 on CIFAR images a start takes some .05 s on a CPU core, and the check 1 s; for VGG-16,
    of 15 million params, a start takes half a minute.

    Raises UsageError for negative restarts; InputError for a block of the params, other params, batches that are
    dicts, a network that cannot be traced or has no units to permute, or outputs that changed in a check in float64 on
    64 samples; NumericalError for params that are not finite.
    """
    _refuse(reference, other, restarts)
    a, b = _params(reference), _params(other)
    before = distance(a, b)
    if not math.isfinite(before):
        raise NumericalError("params hold NaN or infinity, so they have no distance; align networks that converged")
    groups = groups_of(classes_of(other), b)
    if not groups:
        raise InputError(
            "no hidden units of this network can be permuted: it has none, or layers that alignment does not "
            "understand (group norm, attention, recurrence) touch them all; compare without alignment"
        )
    match = best_match(a, b, groups, restarts, np.random.default_rng(seed))
    tensors = {**other.layout.named(other.params), **other.constants}
    found = other.at(in_order(tensors, groups, match.orders))
    _check(other, found)
    places = sum(group.size for group in groups)
    changed = sum(int((order != np.arange(len(order))).sum()) for order in match.orders)
    permutations = {group.name: order for group, order in zip(groups, match.orders, strict=True)}
    return Alignment(found, before, match.distance, changed / places, restarts, permutations)


def _refuse(reference: Objective, other: Objective, restarts: int) -> None:
    if restarts < 0:
        raise UsageError(f"restarts must be 0 or more, got {restarts}")
    if reference.penalised or other.penalised:
        raise InputError("--align moves all params, got a block of them; leave --params or --align out")
    shapes = [dict(zip(o.layout.names, o.layout.shapes, strict=True)) for o in (reference, other)]
    if shapes[0] != shapes[1]:
        names = shapes[0].keys() | shapes[1].keys()
        name = min(name for name in names if shapes[0].get(name) != shapes[1].get(name))
        shown = [tuple(s[name]) if name in s else "nothing" for s in shapes]
        raise InputError(f"param {name} is {shown[0]} and {shown[1]}: alignment takes two networks of one architecture")
    if isinstance(other.samples.blocks[0], dict):
        raise InputError("alignment needs (inputs, targets) samples to follow the units, got dict batches")


def _params(objective: Objective) -> dict[str, Tensor]:
    return {name: part.double().cpu() for name, part in objective.layout.named(objective.params).items()}


def _check(before: Objective, after: Objective) -> None:
    """InputError unless both put out the same: the units were not what the structure said."""
    change, largest = difference(outputs(before), outputs(after))
    if not change <= CHECK_TOLERANCE * largest:
        raise InputError(
            f"alignment changed the outputs by {change:.1e} (the largest is {largest:.1e}): the network has a "
            f"structure that alignment does not understand; compare without alignment"
        )
