"""Hidden units: which places along the axes of tensors belong to one of them, and which of them are alike.

Every place along an axis of a param is an entry. An entry that is added to or contracted with another belongs to the
same unit; what breaks the likeness of units (a slice takes some of them) leaves a mark on its entries. Units may be
exchanged where they have entries in the same axes, as many in each, with the same marks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import numpy as np

# One entry for each place along an axis; None where the places are no units (samples, pixels, classes, features).
Axis = np.ndarray | None
Owner = tuple[str, int] | None


class Units:
    """Entries, joined to units by what the operations of a network do with them."""

    def __init__(self) -> None:
        self._parent: list[int] = []
        self._origin: list[int] = []
        self._marks: list[tuple[tuple[int, int], ...]] = []
        self._fixed: set[int] = set()
        self._owners: list[Owner] = []
        self._starts: list[int] = []
        self._events = 0

    def new(self, size: int, owner: Owner = None) -> np.ndarray:
        """Entries (size,) of a new axis, all alike; `owner` is the name of a param or buffer and the axis of it."""
        start = len(self._parent)
        self._parent += range(start, start + size)
        self._origin += [len(self._owners)] * size
        self._marks += [()] * size
        self._owners.append(owner)
        self._starts.append(start)
        return np.arange(start, start + size)

    def tie(self, one: Axis, other: Axis) -> Axis:
        """Joins two axes place by place; with an axis that has no units, the units stay where they are.

        Raises ValueError where the lengths differ.
        """
        if one is None or other is None:
            self.fix(one)
            self.fix(other)
            return None
        for a, b in zip(one.tolist(), other.tolist(), strict=True):
            self._parent[self._root(b)] = self._root(a)
        return one

    def fix(self, axis: Axis) -> None:
        """The units of an axis stay where they are."""
        if axis is not None:
            self._fixed.update(axis.tolist())

    def mark(self, entries: np.ndarray, event: int, part: int) -> None:
        """Sets entries apart from those of their axis that were not in this part of an event."""
        for entry in set(entries.tolist()):
            self._marks[entry] += ((event, part),)

    def event(self) -> int:
        """A number for something that sets units apart."""
        self._events += 1
        return self._events

    def classes(self) -> list[dict[tuple[str, int], np.ndarray]]:
        """Sets of at least two units that may be exchanged, in the order of their first entries.

        Each by (name, axis) of the params and buffers it lies in, as places (roles, units) along that axis: a unit has
        several roles where a channel of several pixels was flattened, one for each pixel.
        """
        alike: dict[tuple, list[list[int]]] = defaultdict(list)
        for members in self._members():
            if self._fixed.isdisjoint(members):
                members.sort(key=self._kind)
                alike[tuple(self._kind(member) for member in members)].append(members)
        found = [np.array(units) for units in alike.values() if len(units) > 1]
        # Entries of one kind take their roles by their order along the axis. That is a mapping of unit to unit only
        # where all roles list the units in one order.
        return [self._places(units) for units in found if (np.diff(units, axis=0) > 0).all()]

    def _kind(self, entry: int) -> tuple[int, tuple[tuple[int, int], ...]]:
        return self._origin[entry], self._marks[entry]

    def _members(self) -> Iterable[list[int]]:
        units: dict[int, list[int]] = defaultdict(list)
        for entry in range(len(self._parent)):
            units[self._root(entry)].append(entry)
        return units.values()

    def _places(self, units: np.ndarray) -> dict[tuple[str, int], np.ndarray]:
        places: dict[tuple[str, int], list[np.ndarray]] = defaultdict(list)
        for role in units.T:
            origin = self._origin[role[0]]
            owner = self._owners[origin]
            if owner is not None:
                places[owner].append(role - self._starts[origin])
        return {owner: np.stack(roles) for owner, roles in places.items()}

    def _root(self, entry: int) -> int:
        while self._parent[entry] != entry:
            self._parent[entry] = entry = self._parent[self._parent[entry]]
        return entry
