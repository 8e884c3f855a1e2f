"""The ground of a plane: where its points lie, and what is projected onto it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from torch import Tensor

from ..objective import Objective
from .courses import Positions
from .directions import Direction, as_direction
from .first_layers import first_layers
from .projection import Frame, Marks, Trajectory
from .statistics import following, moved_buffers, recomputed

Directions = tuple[Direction | Tensor, Direction | Tensor]


class Ground:
    """Where the points of a plane lie, by their flat indices; `given` are the settings of the result."""

    def __init__(
        self,
        objective: Objective,
        directions: Directions,
        alphas: Positions,
        betas: Positions,
        given: Mapping[str, Any],
    ) -> None:
        first, second = (as_direction(direction) for direction in directions)
        self.objective, self.policy, self.bn_batch = objective, given["bn"], given["bn_batch"]
        self.alpha, self.beta = np.asarray(alphas, dtype=np.float64), np.asarray(betas, dtype=np.float64)
        self.shape = (len(self.alpha), len(self.beta))
        vectors = (d.vector.to(objective.device).double() for d in (first, second))
        self.frame = Frame(objective.params.double(), *vectors)
        self.steps = [following(objective, direction.buffers, self.policy) for direction in (first, second)]

    def position(self, index: int) -> tuple[float, float]:
        """alpha and beta."""
        row, column = divmod(index, self.shape[1])
        return float(self.alpha[row]), float(self.beta[column])

    def at(self, index: int) -> Objective:
        """The objective there, with the statistics that the policy asks for."""
        a, b = self.position(index)
        point = self.objective.at(self.frame.centre.add(self.frame.first, alpha=a).add_(self.frame.second, alpha=b))
        if self.steps[0] or self.steps[1]:
            moved = moved_buffers(self.objective.constants, self.steps[0], a)
            point = point.with_constants(moved_buffers(moved, self.steps[1], b))
        return self._with_statistics(point)

    def centre(self) -> Objective:
        """The objective at the centre, likewise."""
        return self._with_statistics(self.objective)

    def _with_statistics(self, point: Objective) -> Objective:
        return recomputed(point, self.bn_batch) if self.policy == "recompute" else point

    def shortcut(self, test: Objective | None) -> Callable[[int], AbstractContextManager[None]] | None:
        """A context in which a point is quicker to measure, if there is one."""
        layers = first_layers(self.objective, (self.frame.first, self.frame.second), test)
        return None if layers is None else lambda index: layers.at(*self.position(index))

    def projected(self, marks: Marks | None, trajectory: Trajectory | None) -> dict[str, Any]:
        """Marks and trajectory as fields of the result."""
        fields: dict[str, Any] = marks.fields(self.frame) if marks else {}
        return fields | (trajectory.fields(self.frame) if trajectory else {})

    def near(self, fields: Mapping[str, Any]) -> list[tuple[int, int]]:
        """The grid points next to the centre and to the marks."""
        known = [(0.0, 0.0), *zip(fields.get("mark_alpha", ()), fields.get("mark_beta", ()), strict=True)]
        return [(_nearest(self.alpha, a), _nearest(self.beta, b)) for a, b in known]

    def fields(self) -> dict[str, Any]:
        """Axes, lengths and cosine as fields of the result."""
        lengths = np.array([float(self.frame.first.norm()), float(self.frame.second.norm())])
        cosine = float(self.frame.first @ self.frame.second) / float(lengths.prod())
        return {"alpha": self.alpha, "beta": self.beta, "unit_lengths": lengths, "cosine": cosine}


def _nearest(positions: np.ndarray, place: float) -> int:
    return int(np.abs(positions - place).argmin())
