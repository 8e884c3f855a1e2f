"""Weight matching: the order of one network's hidden units in which its params are closest to another's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from .groups import Group, in_order

# An assignment must gain more than the sums' rounding, some 1e-13 of |a| |b| in float64, or the descent might not end.
LEAST_GAIN = 1e-12


@dataclass(frozen=True)
class Match:
    """Orders of the units of each group, and the distance |b in these orders - a| that they leave."""

    orders: tuple[np.ndarray, ...]
    distance: float


def distance(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    """The Euclidean distance of two sets of tensors of equal names."""
    return float(torch.stack([(one[name] - other[name]).square().sum() for name in one]).sum().sqrt())


def best_match(
    a: Mapping[str, Tensor], b: Mapping[str, Tensor], groups: Sequence[Group], restarts: int, rng: np.random.Generator
) -> Match:
    """The match of smallest distance of those from the order as it is and from `restarts` random ones.

    `a` and `b` are trainable params by name, in float64 on the CPU. Of equal distances the first is kept.
    """
    best = weight_matching(a, b, groups, [np.arange(group.size) for group in groups], rng)
    for _ in range(restarts):
        found = weight_matching(a, b, groups, [rng.permutation(group.size) for group in groups], rng)
        best = min(best, found, key=lambda match: match.distance)
    return best


def weight_matching(
    a: Mapping[str, Tensor],
    b: Mapping[str, Tensor],
    groups: Sequence[Group],
    start: Sequence[np.ndarray],
    rng: np.random.Generator,
) -> Match:
    """Coordinate descent over the groups, in random order, until no assignment comes closer.

    Each step takes the P that maximises sum_axes <a, P b>, over the axes in which the group lies and with the other
    groups as they are: a linear assignment (Ainsworth, Hayase & Srinivasa 2023, section 3.2, algorithm 1). Where one
    param has a group on two of its axes the sum is not linear in P: then each axis is taken with the other as it is,
    and a step that does not come closer is not made. So the distance never grows, and the end is a local minimum among
    changes of one group. A step costs a product (units, k)(k, units) for each axis, with k params a unit, and an
    assignment, cubic in the units at worst.
    """
    orders = [order.copy() for order in start]
    moved = in_order(b, groups, orders)
    least = LEAST_GAIN * _norm(a) * _norm(b)
    coming_closer = True
    while coming_closer:
        coming_closer = False
        for number in rng.permutation(len(groups)):
            group = groups[number]
            _, step = linear_sum_assignment(_similarity(a, moved, group), maximize=True)
            changed = group.reordered(moved, step)
            if sum(float((a[name] * (new - moved[name])).sum()) for name, new in changed.items()) > least:
                moved.update(changed)
                orders[number] = orders[number][step]
                coming_closer = True
    return Match(tuple(orders), distance(a, moved))


def _similarity(a: Mapping[str, Tensor], b: Mapping[str, Tensor], group: Group) -> np.ndarray:
    """(units, units): the inner products of all that belongs to unit i in `a` and to unit j in `b`."""
    total = torch.zeros(group.size, group.size, dtype=torch.float64)
    for (name, axis), places in group.places.items():
        if name in a:
            index = torch.from_numpy(places.T.copy())
            one, other = (tensors[name].movedim(axis, 0)[index].flatten(1) for tensors in (a, b))
            total += one @ other.T
    return total.numpy()


def _norm(tensors: Mapping[str, Tensor]) -> float:
    return float(torch.stack([tensor.square().sum() for tensor in tensors.values()]).sum().sqrt())
