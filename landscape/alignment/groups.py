"""Groups of hidden units, and params and buffers with the units of a group in another order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .structure import Places


@dataclass(frozen=True)
class Group:
    """Units that may be exchanged: for each (param or buffer, axis), the places (roles, units) along that axis."""

    name: str
    size: int
    places: Places

    def reordered(self, tensors: Mapping[str, Tensor], order: np.ndarray) -> dict[str, Tensor]:
        """Those of `tensors` in which the group lies, with unit `order[i]` at the place of unit i."""
        changed: dict[str, Tensor] = {}
        for (name, axis), places in self.places.items():
            if name in tensors:
                tensor = changed.get(name, tensors[name])
                index = np.arange(tensor.shape[axis])
                index[places] = places[:, order]
                changed[name] = tensor.index_select(axis, torch.from_numpy(index).to(tensor.device))
        return changed


def groups_of(classes: Sequence[Places], trainable: Mapping[str, Tensor]) -> list[Group]:
    """The classes of units that lie in some trainable param, each named by the first layer whose outputs they are."""
    found = []
    for places in classes:
        names = [key for key in places if key[0] in trainable]
        if names:
            first = min(names, key=lambda key: key[1])
            name = _name(first[0], places[first], trainable[first[0]].shape[first[1]])
            found.append(Group(name, places[first].shape[1], places))
    return found


def _name(param: str, where: np.ndarray, size: int) -> str:
    """The module of a param, with the range of the units where they are some of those along the axis."""
    module = param.rpartition(".")[0] or param
    return module if where.size == size else f"{module}[{where.min()}:{where.max() + 1}]"


def in_order(tensors: Mapping[str, Tensor], groups: Sequence[Group], orders: Sequence[np.ndarray]) -> dict[str, Tensor]:
    """All `tensors`, each group in its order."""
    moved = dict(tensors)
    for group, order in zip(groups, orders, strict=True):
        moved.update(group.reordered(moved, order))
    return moved
